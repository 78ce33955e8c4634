//! Ctrl-C and similar signals. Each test starts this test binary again as another process.
#![cfg(all(unix, feature = "signals"))]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, process, thread};

use deferred_core::{BuiltinError, Cancelled, Deferred, Failure, Phase, Reactor, SystemEvent, inspect, park};

/// The environment variable that names the program to run.
const PROGRAM: &str = "DEFERRED_TEST_PROGRAM";

struct Program {
    child: Child,
    lines: BufReader<Box<dyn Read>>,
}

impl Program {
    fn start(name: &str) -> Program {
        Program::start_by("exec \"$@\"", name)
    }

    /// Starts the program by a line of shell, which receives it as an argument.
    fn start_by(line: &str, name: &str) -> Program {
        let mut child = Command::new("sh")
            .args(["-c", line, "sh"])
            .arg(env::current_exe().unwrap())
            .args(["--exact", "the_programs", "--nocapture", "--quiet"])
            .env(PROGRAM, name)
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(Box::new(child.stdout.take().unwrap()) as Box<dyn Read>);
        Program { child, lines }
    }

    /// Reads the output until this line.
    fn wait_for_line(&mut self, line: &str) {
        let mut read = String::new();
        while !read.lines().any(|read| read == line) {
            assert_ne!(self.lines.read_line(&mut read).unwrap(), 0, "it never said {line:?}, but {read}");
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Returns the exit status and the standard error.
    fn end(mut self) -> (ExitStatus, String) {
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (self.child.wait().unwrap(), errors)
    }
}

/// Returns `true` if Ctrl-C is ignored. A process that a script starts in the background ignores
/// it, and so do its children.
fn ctrl_c_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 << (2 - 1) != 0)
}

/// Returns a Deferred that never fires.
fn never() -> Deferred<()> {
    let (deferred, resolver) = Deferred::new();
    std::mem::forget(resolver);
    deferred
}

/// The programs of the tests below; not a test by itself.
#[test]
fn the_programs() {
    let Ok(name) = env::var(PROGRAM) else { return };
    let for_ever = |reactor: &Reactor| {
        reactor.add_system_event_trigger(Phase::During, SystemEvent::Shutdown, || println!("shutdown"));
        reactor.call_when_running(|| println!("\nrunning"));
        never()
    };
    let code = match &*name {
        "react" => park::react(for_ever),
        "stubborn" => park::react(|reactor| {
            reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, || {
                println!("waiting");
                never()
            });
            for_ever(reactor)
        }),
        "blocked" => park::react(|reactor| {
            reactor.call_when_running(|| -> () {
                println!("\nrunning");
                loop {
                    thread::park();
                }
            });
            never()
        }),
        "lists" => {
            let _on = inspect::enable();
            park::react(|reactor| {
                let (stuck, kept) = Deferred::<()>::new();
                std::mem::forget((stuck, kept));
                reactor.report_pending_on_sigusr1().unwrap();
                for_ever(reactor)
            })
        }
        "embedded" => {
            park::run(|reactor| {
                reactor.stop_on_signals().unwrap();
                drop(for_ever(reactor));
            });
            println!("stopped");
            loop {
                thread::park_timeout(Duration::from_secs(60));
            }
        }
        "run" => {
            park::run(|reactor| drop(for_ever(reactor)));
            println!("over");
            process::ExitCode::SUCCESS
        }
        "run_until" => {
            assert!(park::run_until(for_ever).is_err());
            println!("over");
            process::ExitCode::SUCCESS
        }
        "driven" => {
            let reactor = Reactor::new();
            drop(for_ever(&reactor));
            park::drive(&reactor).unwrap();
            unreachable!("it ends by the signal");
        }
        "two" => {
            let (sender, first) = mpsc::channel();
            thread::spawn(move || {
                let runs = sender.clone();
                park::run(|reactor| reactor.call_when_running(move || runs.send("it runs").unwrap()));
                sender.send("it is over").unwrap();
            });
            assert_eq!(first.recv(), Ok("it runs"));
            let code = park::react(for_ever);
            println!("{}", first.recv_timeout(Duration::from_secs(60)).expect("it is stopped too"));
            code
        }
        "cancelled" => park::react(|_| Deferred::<()>::fail(BuiltinError::from(Cancelled::new()))),
        "done" => park::react(|reactor| reactor.sleep(Duration::ZERO)),
        _ => panic!("no such program: {name}"),
    };
    // `ExitCode` is opaque, and the test harness would return another one.
    process::exit(if code == process::ExitCode::SUCCESS { 0 } else { 1 })
}

#[test]
fn react_stops_through_the_shutdown() {
    for signal in ["-INT", "-TERM"] {
        if signal == "-INT" && ctrl_c_is_ignored() {
            continue;
        }
        let mut program = Program::start("react");
        program.wait_for_line("running");
        program.signal(signal);
        program.wait_for_line("shutdown");
        let (status, errors) = program.end();
        assert_eq!(status.code(), Some(0), "{errors}");
    }
}

#[test]
fn run_and_run_until_stop_through_the_shutdown_but_a_manually_driven_loop_does_not() {
    for name in ["run", "run_until"] {
        let mut program = Program::start(name);
        program.wait_for_line("running");
        program.signal("-TERM");
        program.wait_for_line("shutdown");
        program.wait_for_line("over");
        assert_eq!(program.end().0.code(), Some(0), "{name}");
    }
    let mut program = Program::start("driven");
    program.wait_for_line("running");
    program.signal("-TERM");
    assert_eq!(program.end().0.signal(), Some(15));
}

#[test]
fn each_loop_of_a_process_is_stopped() {
    let mut program = Program::start("two");
    program.wait_for_line("running");
    program.signal("-TERM");
    program.wait_for_line("it is over");
    assert_eq!(program.end().0.code(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_signal_that_was_ignored_when_the_process_began_stays_ignored() {
    let mut program = Program::start_by("trap '' INT; exec \"$@\"", "react");
    program.wait_for_line("running");
    for _ in 0..3 {
        program.signal("-INT");
        thread::sleep(Duration::from_millis(30));
    }
    assert!(program.child.try_wait().unwrap().is_none(), "it goes on");
    program.signal("-TERM");
    program.wait_for_line("shutdown");
    assert_eq!(program.end().0.code(), Some(0));
}

#[test]
fn sigusr1_reports_what_is_pending_and_the_loop_goes_on() {
    let mut program = Program::start("lists");
    program.wait_for_line("running");
    program.signal("-USR1");
    program.signal("-TERM");
    program.wait_for_line("shutdown");
    let (status, errors) = program.end();
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(errors.contains("deferred: after SIGUSR1: 3 pending: 3 Deferreds"), "{errors}");
    assert!(errors.contains("\nDeferred made at deferred-core/tests/signals.rs:"), "{errors}");
}

#[test]
fn a_second_signal_ends_the_wait_of_the_shutdown() {
    let mut program = Program::start("stubborn");
    program.wait_for_line("running");
    program.signal("-TERM");
    program.wait_for_line("waiting");
    program.signal("-TERM");
    program.wait_for_line("shutdown");
    let (status, errors) = program.end();
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(
        errors.contains("a second signal ended the wait of the shutdown; cancelling 1")
            && errors.contains("signals.rs:"),
        "{errors}"
    );
}

#[test]
fn a_third_signal_ends_a_process_whose_loop_is_blocked() {
    let mut program = Program::start("blocked");
    program.wait_for_line("running");
    // The handler may run once for signals that arrive close together.
    while program.child.try_wait().unwrap().is_none() {
        program.signal("-TERM");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(program.end().0.signal(), Some(15));
}

#[test]
fn a_signal_without_a_listening_reactor_ends_the_process() {
    let mut program = Program::start("embedded");
    program.wait_for_line("running");
    program.signal("-TERM");
    program.wait_for_line("stopped");
    program.signal("-TERM");
    assert_eq!(program.end().0.signal(), Some(15));
}

#[test]
fn a_cancelled_main_reports_it_and_exits_with_1() {
    let (status, errors) = Program::start("cancelled").end();
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("unhandled error: cancelled"), "{errors}");
    assert_eq!(Program::start("done").end().0.code(), Some(0));
}

#[test]
fn a_failure_is_an_error_of_the_program() {
    // Calls `react` in this process: installing the handler does no harm.
    let code = park::react(|_| Deferred::<()>::fail(Failure::msg("on purpose")));
    assert_eq!(code, process::ExitCode::FAILURE);
}
