//! `process_output`: what a process writes.

use std::cell::OnceCell;
use std::process::{Command, ExitStatus, Output};
use std::rc::Rc;

use deferred_core::{Deferred, Failure, Reactor, Resolver};

use super::{ProcessProtocol, ProcessTransport, spawn_process};

/// Starts a process, writes `input` to it, and returns a Deferred that fires with its status and
/// with what it has written to its two outputs, whatever the status is.
///
/// Twisted's `getProcessOutputAndValue`.
///
/// # Errors
///
/// The returned Deferred fails with the errors of [`spawn_process`].
///
/// # Cancellation
///
/// A cancel kills the process.
///
/// # Examples
///
/// ```
/// use std::process::Command;
/// use deferred_mio::net::process::process_output;
/// use deferred_mio::run_until;
///
/// let output = run_until(|reactor| process_output(reactor, Command::new("sort"), "b\na\n"));
/// assert_eq!(output.unwrap().stdout, b"a\nb\n");
/// ```
#[doc(alias = "getProcessOutput")]
#[doc(alias = "getProcessOutputAndValue")]
#[doc(alias = "getProcessValue")]
#[track_caller]
#[must_use = "the output is only in this Deferred"]
pub fn process_output(reactor: &Reactor, command: Command, input: impl AsRef<[u8]>) -> Deferred<Output> {
    let process = Rc::new(OnceCell::<ProcessTransport>::new());
    let kills = process.clone();
    let (deferred, resolver) = Deferred::with_canceller(move || {
        if let Some(process) = kills.get() {
            let _ = process.kill(); // it may have ended
            process.lose_connection();
        }
        None
    });
    let protocol = Collect { out: Vec::new(), err: Vec::new(), resolver: Some(resolver) };
    match spawn_process(reactor, command, protocol) {
        Ok(spawned) => {
            spawned.write(input);
            spawned.close_stdin();
            let _ = process.set(spawned); // it is set once
            deferred
        }
        Err(error) => deferred.add_errback(move |_| Err(Failure::from(error))),
    }
}

struct Collect {
    out: Vec<u8>,
    err: Vec<u8>,
    resolver: Option<Resolver<Output>>,
}

impl ProcessProtocol for Collect {
    fn out_received(&mut self, _: &ProcessTransport, data: &[u8]) -> Result<(), Failure> {
        self.out.extend_from_slice(data);
        Ok(())
    }

    fn err_received(&mut self, _: &ProcessTransport, data: &[u8]) -> Result<(), Failure> {
        self.err.extend_from_slice(data);
        Ok(())
    }

    fn process_ended(&mut self, status: Option<ExitStatus>) {
        let (Some(resolver), Some(status)) = (self.resolver.take(), status) else { return };
        let (stdout, stderr) = (std::mem::take(&mut self.out), std::mem::take(&mut self.err));
        resolver.callback(Output { status, stdout, stderr });
    }
}
