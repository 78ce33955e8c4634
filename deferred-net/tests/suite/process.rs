//! Child processes.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use deferred_core::testing::Reports;

use super::{LONG, Log, MS, pattern};
use crate::adapter::net::process::{ProcessProtocol, ProcessTransport, process_output, spawn_process};
use crate::adapter::{Cancelled, Deferred, Failure, Reactor, Resolver, inline_callbacks, run, run_until};

fn sh(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

/// Logs its callbacks, and fires when it has ended.
struct Logs<F>(Log, Option<Resolver<()>>, F);

impl<F: FnMut(&str, &ProcessTransport) -> Result<(), Failure> + 'static> ProcessProtocol for Logs<F> {
    fn process_started(&mut self, process: &ProcessTransport) -> Result<(), Failure> {
        self.0.note("started");
        (self.2)("started", process)
    }

    fn out_received(&mut self, process: &ProcessTransport, data: &[u8]) -> Result<(), Failure> {
        let text = format!("out {}", String::from_utf8_lossy(data).trim_end());
        self.0.note(&*text);
        (self.2)(&text, process)
    }

    fn err_received(&mut self, process: &ProcessTransport, data: &[u8]) -> Result<(), Failure> {
        let text = format!("err {}", String::from_utf8_lossy(data).trim_end());
        self.0.note(&*text);
        (self.2)(&text, process)
    }

    fn in_connection_lost(&mut self, process: &ProcessTransport) -> Result<(), Failure> {
        self.0.note("in ended");
        (self.2)("in ended", process)
    }

    fn out_connection_lost(&mut self, process: &ProcessTransport) -> Result<(), Failure> {
        self.0.note("out ended");
        (self.2)("out ended", process)
    }

    fn err_connection_lost(&mut self, process: &ProcessTransport) -> Result<(), Failure> {
        self.0.note("err ended");
        (self.2)("err ended", process)
    }

    fn process_exited(&mut self, process: &ProcessTransport, status: ExitStatus) -> Result<(), Failure> {
        self.0.note(format!("exited {status}"));
        (self.2)("exited", process)
    }

    fn process_ended(&mut self, status: Option<ExitStatus>) {
        self.0.note(format!("ended {:?}", status.map(|status| (status.code(), status.signal()))));
        if let Some(resolver) = self.1.take() {
            resolver.callback(());
        }
    }
}

fn start(
    reactor: &Reactor,
    log: &Log,
    command: Command,
    react: impl FnMut(&str, &ProcessTransport) -> Result<(), Failure> + 'static,
) -> (ProcessTransport, Deferred<()>) {
    let (ended, resolver) = Deferred::new();
    (spawn_process(reactor, command, Logs(log.clone(), Some(resolver), react)).unwrap(), ended)
}

/// Runs a process until its end. Returns its log.
fn logged(script: &str, react: impl FnMut(&str, &ProcessTransport) -> Result<(), Failure> + 'static) -> Vec<String> {
    let log = Log::default();
    run_until(|reactor| start(reactor, &log, sh(script), react).1).unwrap();
    log.take()
}

#[test]
fn a_process_gets_its_input_and_its_outputs_arrive() {
    let log = logged("read line; echo \"got $line\"; read line; echo \"and $line\" >&2; exit 3", |event, process| {
        match event {
            "started" => process.write("one\n"),
            "out got one" => process.write("two\n"),
            _ => {}
        }
        Ok(())
    });
    assert_eq!(log[..2], ["started", "out got one"]);
    assert!(log.contains(&"err and two".to_owned()), "{log:?}");
    for once in ["out ended", "err ended", "exited exit status: 3"] {
        assert_eq!(log.iter().filter(|line| *line == once).count(), 1, "{once}: {log:?}");
    }
    assert_eq!(log.last().unwrap(), "ended Some((Some(3), None))");
}

#[test]
fn much_input_and_both_outputs_pass_at_the_same_time() {
    // Each is larger than all buffers on its way.
    let sent = pattern(3_000_000);
    let expected = sent.clone();
    let output = run_until(|reactor| process_output(reactor, sh("tee /dev/stderr"), sent)).unwrap();
    assert!(output.status.success());
    assert!(output.stdout == expected && output.stderr == expected);
}

#[test]
fn close_stdin_follows_what_was_written() {
    let log = logged("cat", |event, process| {
        if event == "started" {
            process.write("all of it");
            process.close_stdin();
            process.close_stdin();
            process.write("too late");
            assert_eq!(process.unsent(), 9);
        }
        Ok(())
    });
    assert!(log.contains(&"out all of it".to_owned()), "{log:?}");
    assert_eq!(log.iter().filter(|line| *line == "in ended").count(), 1, "{log:?}");
}

#[test]
fn a_process_that_does_not_read_its_input_ends_and_loses_it() {
    let drained = run_until(|reactor| {
        let log = Log::default();
        let (process, ended) = start(reactor, &log, sh("exec 0<&-; sleep 0.01"), |_, _| Ok(()));
        process.write(pattern(1_000_000));
        let drained = process.drained();
        ended.add_callback(move |()| {
            assert!(log.take().contains(&"in ended".to_owned()));
            assert!(process.has_ended());
            assert_eq!(process.unsent(), 0);
            assert!(process.drained().try_take().unwrap().is_err(), "also after the end");
            drained.add_both(|result| Ok::<_, Failure>(result.is_err()))
        })
    });
    assert!(drained.unwrap());
}

#[test]
fn drained_fires_when_all_was_written() {
    run_until(|reactor| {
        let (process, ended) = start(reactor, &Log::default(), sh("cat >/dev/null"), |_, _| Ok(()));
        inline_callbacks(async move {
            for _ in 0..10 {
                process.write(pattern(200_000));
                process.drained().await?;
                assert_eq!(process.unsent(), 0);
            }
            process.close_stdin();
            ended.await
        })
    })
    .unwrap();
}

#[test]
fn a_signal_ends_a_process_and_is_refused_after_the_end() {
    let log = Log::default();
    let noted = log.clone();
    let refused = run_until(|reactor| {
        let (process, ended) = start(reactor, &noted, sh("echo ready; exec sleep 60"), |event, process| {
            if event == "out ready" {
                assert_eq!(process.signal_process(12345).unwrap_err().kind(), ErrorKind::InvalidInput);
                process.signal_process(15)?;
            }
            Ok(())
        });
        ended.map(move |()| process.kill().unwrap_err())
    });
    assert_eq!(refused.unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(log.take().last().unwrap(), "ended Some((None, Some(15)))");
}

#[test]
fn an_error_of_a_callback_kills_the_process_and_is_reported() {
    for panics in [false, true] {
        for place in ["started", "out x", "err y", "exited", "out ended"] {
            let reports = Reports::collect();
            let log = logged("echo x; echo y >&2; exec sleep 0.1", move |event, _| match event == place {
                true if panics => panic!("no"),
                true => Err(Failure::msg("no")),
                false => Ok(()),
            });
            assert!(log.last().unwrap().starts_with("ended Some("), "{log:?}");
            assert_eq!(log.iter().filter(|line| line.starts_with("ended")).count(), 1, "{log:?}");
            let reports = reports.take();
            assert_eq!(reports.len(), 1, "{place}: {reports:?}");
            assert!(reports[0].contains("failed: "), "{reports:?}");
        }
    }
}

#[test]
fn ended_fires_with_the_status_whenever_it_is_asked() {
    let [while_it_runs, after] = run_until(|reactor| {
        let (done, resolver) = Deferred::new();
        let process =
            spawn_process(reactor, sh("exit 7"), Logs(Log::default(), Some(resolver), |_: &str, _: &_| Ok(())))
                .unwrap();
        process.ended().cancel(); // only a wait
        let ended = process.ended();
        ended.add_callback(move |first| done.add_callback(move |()| process.ended().map(move |again| [first, again])))
    })
    .unwrap();
    assert_eq!((while_it_runs.code(), after.code()), (Some(7), Some(7)));

    let mut ended = None;
    run(|reactor| {
        let process =
            spawn_process(reactor, sh("sleep 60"), Logs(Log::default(), None, |_: &str, _: &_| Ok(()))).unwrap();
        ended = Some(process.ended());
        process.kill().unwrap();
        reactor.stop();
    });
    let ended = ended.unwrap().try_take().unwrap_or_else(|_| panic!("it is ready"));
    assert!(ended.is_err() || ended.is_ok_and(|status| status.signal() == Some(9)));
}

#[test]
fn a_cancel_kills_the_process() {
    let begun = std::time::Instant::now();
    let failed = run_until(|reactor| {
        process_output(reactor, sh("echo $$; exec sleep 600"), "").add_timeout(50 * MS, reactor).map(|_| ())
    });
    assert!(failed.is_err());
    assert!(begun.elapsed() < LONG);
    let cancelled = run_until(|reactor| {
        let mut output = process_output(reactor, sh("exec sleep 600"), "");
        let handle = output.cancel_handle();
        reactor.call_later(10 * MS, move || handle.cancel());
        output.map(|_| ())
    });
    assert!(cancelled.unwrap_err().check::<Cancelled>());
}

#[test]
fn lose_connection_closes_all_pipes() {
    let log = logged("while echo x; do :; done; exit 0", |event, process| {
        if event.starts_with("out x") {
            process.lose_connection();
        }
        Ok(())
    });
    let last = log.last().unwrap();
    assert!(last == "ended Some((None, Some(13)))" || last == "ended Some((Some(0), None))", "{last}");
    assert_eq!(log.iter().filter(|line| line.starts_with("out x")).count(), 1, "nothing is read after it");
}

#[test]
fn a_pause_lets_the_process_block() {
    run_until(|reactor| {
        let log = Log::default();
        let (process, ended) =
            start(reactor, &log, sh("head -c 1000000 /dev/zero; echo done >&2"), |event, process| {
                if event == "started" {
                    process.pause_producing();
                }
                Ok(())
            });
        let reactor = reactor.clone();
        inline_callbacks(async move {
            reactor.sleep(50 * MS).await?;
            assert_eq!(log.take(), ["started"], "nothing is read, and the process cannot end");
            process.resume_producing();
            ended.await?;
            assert!(log.take().contains(&"err done".to_owned()));
            Ok(())
        })
    })
    .unwrap();
}

#[test]
fn outputs_that_another_process_has_inherited_delay_the_end() {
    let log = logged("(sleep 0.1; echo late) & exit 0", |_, _| Ok(()));
    let at = |text: &str| log.iter().position(|line| line == text).unwrap_or_else(|| panic!("{text}: {log:?}"));
    assert!(at("exited exit status: 0") < at("out late"));
    assert!(at("out late") < at("ended Some((Some(0), None))"));
}

#[test]
fn a_program_that_does_not_exist_is_an_error_at_once() {
    let failed = run_until(|reactor| {
        struct Nothing;
        impl ProcessProtocol for Nothing {}
        let refused = spawn_process(reactor, Command::new("/no/such/program"), Nothing).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
        assert!(refused.to_string().contains("cannot start the program \"/no/such/program\""), "{refused}");
        process_output(reactor, Command::new("/no/such/program"), "").map(|_| ())
    });
    assert!(failed.unwrap_err().to_string().contains("/no/such/program"));
}

#[test]
fn the_end_of_the_loop_ends_the_protocol_and_the_process_is_reaped() {
    let log = Log::default();
    let mut pid = 0;
    run(|reactor| {
        let (process, ended) = start(reactor, &log, sh("read line; exit 0"), |_, _| Ok(()));
        pid = process.pid();
        drop(ended);
        reactor.stop();
    });
    assert_eq!(log.take(), ["started", "ended None"]);
    // Its input has ended. A process that is not reaped would stay in the list of processes.
    #[cfg(target_os = "linux")]
    while std::path::Path::new(&format!("/proc/{pid}")).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn many_processes_at_once_each_end_once() {
    let outputs = run_until(|reactor| {
        let all = (0..50).map(|n| process_output(reactor, sh(&format!("cat; exit {}", n % 7)), format!("{n}")));
        crate::adapter::gather(all.collect::<Vec<_>>()).map_err(Failure::from)
    });
    for (n, output) in outputs.unwrap().into_iter().enumerate() {
        assert_eq!(output.status.code(), Some(n as i32 % 7));
        assert_eq!(output.stdout, n.to_string().as_bytes());
    }
}

#[test]
fn the_input_of_each_process_ends_once() {
    for script in ["exit 0", "exec 0<&-; sleep 0.01", "cat", "sleep 0.01"] {
        let log = logged(script, |event, process| {
            if event == "started" {
                process.close_stdin();
            }
            Ok(())
        });
        assert_eq!(log.iter().filter(|line| *line == "in ended").count(), 1, "{script}: {log:?}");
        let log = logged(&script.replace("cat", "exit 0"), |_, _| Ok(()));
        assert_eq!(log.iter().filter(|line| *line == "in ended").count(), 1, "{script}: {log:?}");
    }
}
