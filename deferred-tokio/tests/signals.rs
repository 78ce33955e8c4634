//! Ctrl-C in a program whose runtime handles it. The test starts this test binary again as another
//! process.
#![cfg(unix)]

use std::process::{Command, id};
use std::time::Duration;
use std::{env, process};

use deferred_tokio::{run_until, tokio};
use tokio::runtime::Runtime;

/// The environment variable of the other process.
const PROGRAM: &str = "DEFERRED_TEST_PROGRAM";

#[test]
fn a_loop_in_a_program_with_a_runtime_leaves_ctrl_c_to_it() {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_program", "--nocapture", "--quiet"])
        .env(PROGRAM, "1")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("handled by the program"), "{output:?}");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}

#[test]
fn the_program() {
    if env::var_os(PROGRAM).is_none() {
        return;
    }
    Runtime::new().unwrap().block_on(async {
        let sleeps = || run_until(|reactor| reactor.sleep(Duration::from_millis(5)));
        tokio::task::spawn_blocking(sleeps).await.unwrap().unwrap();
        let handled = tokio::signal::ctrl_c();
        let sends = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Command::new("kill").args(["-INT", &id().to_string()]).status().unwrap();
        };
        tokio::join!(async { handled.await.unwrap() }, sends);
        println!("handled by the program");
        process::exit(7);
    });
}
