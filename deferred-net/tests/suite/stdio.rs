//! The standard input and output, in a process of its own.

use std::env;
use std::process::Command;

use crate::adapter::net::process::process_output;
use crate::adapter::net::{on_line, standard_io};
use crate::adapter::run_until;

/// The variable that lets the test be the process with the protocol.
const IS_CHILD: &str = "DEFERRED_STDIO_CHILD";

#[test]
fn a_protocol_answers_on_the_standard_output() {
    if env::var_os(IS_CHILD).is_some() {
        run_until(|reactor| {
            let shout = on_line(|transport, line| {
                transport.send_line(line.to_ascii_uppercase());
                if line == b"quit" {
                    transport.lose_connection();
                }
            });
            standard_io(reactor, shout).unwrap().closed()
        })
        .unwrap();
        std::process::exit(7); // without the summary of the tests
    }
    // The second input has no end of its own, and more than the channels hold.
    let long = format!("{}\nquit\nnot read\n", "a line of some length\n".repeat(20_000));
    for (input, lines) in [("one\ntwo\n", 2), (&*long, 20_002)] {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["suite::stdio::a_protocol_answers_on_the_standard_output", "--exact", "--nocapture", "-q"]);
        command.env(IS_CHILD, "1");
        let output = run_until(|reactor| process_output(reactor, command, input)).unwrap();
        assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let answers: Vec<_> = text.lines().filter(|line| !line.is_empty() && !line.starts_with("running ")).collect();
        let expected = input.to_ascii_uppercase();
        let expected: Vec<_> = expected.lines().take(lines).filter(|line| !line.is_empty()).collect();
        assert_eq!(answers.len(), expected.len());
        assert!(answers == expected);
    }
}
