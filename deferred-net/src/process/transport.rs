//! `ProcessTransport`: the operations on a child process.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::rc::Rc;

use deferred_core::{Deferred, Failure, Reactor};
use rustix::process::Signal;

use super::state::ProcessState;
use crate::waiters::push_waiter;

/// A handle to a child process, which writes to its input and ends it. Clones refer to the same
/// process. Dropping them has no effect.
///
/// Twisted's `IProcessTransport`.
#[doc(alias = "IProcessTransport")]
#[derive(Clone)]
pub struct ProcessTransport {
    pub(super) state: Rc<ProcessState>,
}

impl ProcessTransport {
    /// Returns the number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.state.child.pid()
    }

    /// Writes to the standard input, after the data that was written before. Data that the process
    /// does not read is buffered. Nothing is written after [`close_stdin`](Self::close_stdin), or when
    /// the process has closed its input.
    ///
    /// Twisted's `writeToChild`.
    #[doc(alias = "writeToChild")]
    pub fn write(&self, data: impl AsRef<[u8]>) {
        let state = &self.state;
        if state.closes_stdin.get() || state.stdin.borrow().is_none() || data.as_ref().is_empty() {
            return;
        }
        state.outgoing.borrow_mut().push(data.as_ref(), Vec::new);
        state.touch();
    }

    /// Returns the number of buffered bytes.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.state.outgoing.borrow().len()
    }

    /// Returns a Deferred that fires when all data was written. A coroutine that writes much awaits
    /// this after each write.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails if the process has closed its input, or has ended, before.
    ///
    /// # Cancellation
    ///
    /// A cancel ends only the wait.
    #[must_use = "the Deferred only waits; the call has no other effect"]
    pub fn drained(&self) -> Deferred<()> {
        if self.state.has_lost_input.get() {
            return Deferred::fail(stdin_closed());
        }
        if self.unsent() == 0 {
            return Deferred::succeed(());
        }
        let (deferred, resolver) = Deferred::new();
        push_waiter(&mut self.state.drained.borrow_mut(), resolver);
        deferred
    }

    /// Closes the standard input after all buffered data is written.
    ///
    /// Twisted's `closeStdin`.
    #[doc(alias = "closeStdin")]
    #[doc(alias = "closeChildFD")]
    pub fn close_stdin(&self) {
        self.state.closes_stdin.set(true);
        self.state.touch();
    }

    /// Closes the standard input, and stops reading the outputs. A process that then writes gets a
    /// signal, which ends most.
    ///
    /// Twisted's `loseConnection`.
    #[doc(alias = "loseConnection")]
    pub fn lose_connection(&self) {
        self.state.closes_outputs.set(true);
        self.close_stdin();
    }

    /// Sends a signal to the process.
    ///
    /// Twisted's `signalProcess`.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`NotFound`](io::ErrorKind::NotFound) if the process has ended,
    /// or the error of the system, for example if `signal` is unknown.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_net::process::ProcessTransport;
    ///
    /// fn end(process: &ProcessTransport) -> std::io::Result<()> {
    ///     process.signal_process(15) // SIGTERM
    /// }
    /// ```
    #[doc(alias = "signalProcess")]
    #[doc(alias = "ProcessExitedAlready")]
    pub fn signal_process(&self, signal: i32) -> io::Result<()> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("the signal {signal} is unknown"));
        self.state.child.signal(Signal::from_named_raw(signal).ok_or_else(unknown)?)
    }

    /// Kills the process with `SIGKILL`, which it cannot ignore.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`NotFound`](io::ErrorKind::NotFound) if the process has ended.
    pub fn kill(&self) -> io::Result<()> {
        self.state.child.signal(Signal::KILL)
    }

    /// Pauses reading the outputs. A process that fills them blocks.
    #[doc(alias = "pauseProducing")]
    pub fn pause_producing(&self) {
        self.state.paused.set(true);
    }

    /// Resumes reading the outputs.
    #[doc(alias = "resumeProducing")]
    pub fn resume_producing(&self) {
        if self.state.paused.replace(false) {
            self.state.touch();
        }
    }

    /// Returns `true` if the process has ended, and
    /// [`process_ended`](super::ProcessProtocol::process_ended) was called.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state.has_ended.get()
    }

    /// Returns a Deferred that fires with the status when the process has ended and
    /// [`process_ended`](super::ProcessProtocol::process_ended) was called. It is ready at once if
    /// that has happened.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with [`Abandoned`](deferred_core::Abandoned) if the reactor is
    /// closed before.
    ///
    /// # Cancellation
    ///
    /// A cancel ends only the wait.
    ///
    /// # Examples
    ///
    /// ```
    /// # use deferred_core::{Deferred, Reactor};
    /// # use deferred_net::process::{ProcessProtocol, spawn_process};
    /// use std::process::Command;
    ///
    /// /// Ignores the outputs of the process.
    /// struct Quiet;
    ///
    /// impl ProcessProtocol for Quiet {}
    ///
    /// fn succeeds(reactor: &Reactor) -> std::io::Result<Deferred<bool>> {
    ///     let process = spawn_process(reactor, Command::new("true"), Quiet)?;
    ///     Ok(process.ended().map(|status| status.success()))
    /// }
    /// ```
    #[must_use = "the Deferred only waits; the call has no other effect"]
    pub fn ended(&self) -> Deferred<ExitStatus> {
        if let Some(status) = self.state.status.get() {
            return Deferred::succeed(status);
        }
        let (deferred, resolver) = Deferred::new();
        if !self.has_ended() {
            push_waiter(&mut self.state.ended.borrow_mut(), resolver);
        }
        deferred
    }

    /// Returns the reactor of the process.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        &self.state.reactor
    }
}

pub(super) fn stdin_closed() -> Failure {
    Failure::from(io::Error::new(io::ErrorKind::BrokenPipe, "the input of the process is closed"))
}

impl fmt::Debug for ProcessTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessTransport")
            .field("pid", &self.pid())
            .field("has_ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}
