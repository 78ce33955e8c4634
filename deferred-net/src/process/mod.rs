//! Child processes: their input, outputs and ends, in callbacks.
//!
//! [`spawn_process`] starts a process with pipes, for a [`ProcessProtocol`];
//! [`process_output`] collects what a process writes. Unix only.
//!
//! The three pipes are served by the loop, at the same time, so a process that fills one output
//! while the program writes to its input does not block either. One thread per process waits for
//! its end.

mod output;
mod protocol;
mod run;
mod state;
mod transport;
mod wait;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::task::{Context, Poll};

use deferred_core::Reactor;
pub use output::process_output;
pub use protocol::ProcessProtocol;
use run::Run;
use state::ProcessState;
pub use transport::ProcessTransport;

use crate::error::ignore_cancel;
use crate::network::network_of;

/// A direction of a [`Pipe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeEnd {
    /// The end that is read.
    Read,
    /// The end that is written.
    Write,
}

/// One end of a pipe, registered with an executor. An adapter implements this trait.
pub trait Pipe: 'static {
    /// Reads into `buffer`, as [`Socket::poll_read`](crate::Socket::poll_read).
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes some of `data`, as [`Socket::poll_write`](crate::Socket::poll_write).
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>>;
}

/// Starts a process with a pipe for its input and for each of its outputs, which replace those that
/// `command` sets. `protocol.process_started` is called inside this call.
///
/// Closing the reactor closes the pipes, and does not end the process.
///
/// Twisted's `reactor.spawnProcess`.
///
/// # Errors
///
/// Returns the error of the system if it cannot start the process, a thread or the pipes, for
/// example because there is no such program. Returns an error if the reactor is closed or has no
/// sockets.
///
/// # Examples
///
/// Send lines to `sort`, and wait for what it writes:
///
/// ```
/// use std::process::{Command, ExitStatus};
/// use deferred_mio::net::process::{ProcessProtocol, ProcessTransport, spawn_process};
/// use deferred_mio::{Deferred, Failure, Resolver, run_until};
///
/// struct Sort {
///     sorted: Vec<u8>,
///     done: Option<Resolver<Vec<u8>>>,
/// }
///
/// impl ProcessProtocol for Sort {
///     fn process_started(&mut self, process: &ProcessTransport) -> Result<(), Failure> {
///         process.write("b\nc\na\n");
///         process.close_stdin();
///         Ok(())
///     }
///
///     fn out_received(&mut self, _: &ProcessTransport, data: &[u8]) -> Result<(), Failure> {
///         self.sorted.extend_from_slice(data);
///         Ok(())
///     }
///
///     fn process_ended(&mut self, status: Option<ExitStatus>) {
///         if let (Some(done), Some(_)) = (self.done.take(), status) {
///             done.callback(std::mem::take(&mut self.sorted));
///         }
///     }
/// }
///
/// let sorted = run_until(|reactor| {
///     let (sorted, done) = Deferred::new();
///     let protocol = Sort { sorted: Vec::new(), done: Some(done) };
///     spawn_process(reactor, Command::new("sort"), protocol).unwrap();
///     sorted
/// });
/// assert_eq!(sorted.unwrap(), b"a\nb\nc\n");
/// ```
#[doc(alias = "spawnProcess")]
#[track_caller]
pub fn spawn_process(
    reactor: &Reactor,
    mut command: Command,
    protocol: impl ProcessProtocol,
) -> io::Result<ProcessTransport> {
    let at = Location::caller();
    let network = network_of(reactor)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        let program = command.get_program();
        io::Error::new(error.kind(), format!("cannot start the program {program:?}: {error}"))
    })?;
    let pipe = |pipe: Option<OwnedFd>, end| {
        let pipe = pipe.ok_or_else(|| io::Error::other("the process has no such pipe"))?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        network.pipe(reactor, File::from(pipe), end)
    };
    let stdin = child.stdin.take().map(OwnedFd::from);
    let (out, err) = (child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from));
    let pipes = || Ok((pipe(stdin, PipeEnd::Write)?, pipe(out, PipeEnd::Read)?, pipe(err, PipeEnd::Read)?));
    let (stdin, out, err) = match pipes() {
        Ok(pipes) => pipes,
        Err(error) => return Err(wait::kill(child, error)),
    };
    let (child, exit) = wait::start(child)?;
    let process = ProcessTransport { state: Rc::new(ProcessState::new(reactor, child, stdin)) };
    let run = Run::new(protocol, process.clone(), out, err, exit, at);
    drop(reactor.ensure_deferred_at(at, run).add_errback(ignore_cancel));
    Ok(process)
}
