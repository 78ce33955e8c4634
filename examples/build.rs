//! Builds the C library that the example `c_callback` calls.

fn main() {
    println!("cargo::rerun-if-changed=c_library/library.c");
    cc::Build::new().file("c_library/library.c").compile("library");
}
