//! The code in the guide is that of its program.

use std::fs;
use std::path::Path;

#[test]
fn each_block_of_code_in_the_guide_is_in_its_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(root.join("../docs/guide.md")).unwrap();
    let program: String =
        ["main.rs", "sensors.rs"].map(|file| fs::read_to_string(root.join("guide").join(file)).unwrap()).concat();
    let mut blocks = 0;
    for text in guide.split("\n```rust").skip(1) {
        let block = text.split_once('\n').unwrap().1.split("```").next().unwrap();
        assert!(program.contains(block), "the program has other code:\n{block}");
        blocks += 1;
    }
    assert!(blocks > 15, "only {blocks} blocks were found");
}
