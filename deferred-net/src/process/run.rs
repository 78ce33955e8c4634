//! `Run`: the coroutine of a child process.

use std::any::type_name;
use std::future::ready;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::process::ExitStatus;
use std::rc::Rc;
use std::task::{Context, Poll};

use deferred_core::{Failure, Panicked, RemoteFuture};

use super::state::ProcessState;
use super::transport::stdin_closed;
use super::{Pipe, ProcessProtocol, ProcessTransport};
use crate::ProtocolFailed;
use crate::buffers::Buffers;

/// The maximum number of reads of each output in one poll, after which other tasks run.
const MAX_ROUNDS: usize = 4;

/// The coroutine of a process, which ends with it.
pub(super) struct Run<P: ProcessProtocol> {
    protocol: P,
    process: ProcessTransport,
    started: bool,
    outputs: [Option<Box<dyn Pipe>>; 2],
    exit: RemoteFuture<ExitStatus>,
    status: Option<ExitStatus>,
    has_exited: bool,
    /// Errors of callbacks, which are reported at the end.
    failures: Vec<Failure>,
    at: &'static Location<'static>,
}

impl<P: ProcessProtocol> Unpin for Run<P> {}

impl<P: ProcessProtocol> Run<P> {
    pub(super) fn new(
        protocol: P,
        process: ProcessTransport,
        out: Box<dyn Pipe>,
        err: Box<dyn Pipe>,
        exit: RemoteFuture<ExitStatus>,
        at: &'static Location<'static>,
    ) -> Run<P> {
        Run {
            protocol,
            process,
            started: false,
            outputs: [Some(out), Some(err)],
            exit,
            status: None,
            has_exited: false,
            failures: Vec::new(),
            at,
        }
    }

    fn state(&self) -> Rc<ProcessState> {
        self.process.state.clone()
    }

    /// Calls a callback. An error of it kills the process.
    fn call(&mut self, call: impl FnOnce(&mut P, &ProcessTransport) -> Result<(), Failure>) {
        let (protocol, process) = (&mut self.protocol, &self.process);
        let result = catch_unwind(AssertUnwindSafe(|| call(protocol, process)));
        let result = result.unwrap_or_else(|payload| Err(Panicked::new(payload).into()));
        if let Err(failure) = result {
            self.failures.push(failure);
            let _ = self.process.kill(); // it may have ended
            self.process.lose_connection();
        }
    }

    /// Writes to the input, and closes it if that was requested.
    fn write(&mut self, context: &mut Context<'_>) {
        let state = self.state();
        let mut slot = state.stdin.borrow_mut();
        let Some(stdin) = &mut *slot else { return };
        let sent = state.outgoing.borrow_mut().poll_send(|data| stdin.poll_write(context, data));
        let is_open = match sent {
            Poll::Pending => return,
            Poll::Ready(Ok(_)) => !state.closes_stdin.get(),
            Poll::Ready(Err(_)) => false, // the process has closed it
        };
        let closed = if is_open { None } else { slot.take() };
        drop(slot);
        let drained = state.drained.take();
        let is_sent = state.outgoing.borrow().is_empty();
        self.call(|_, _| {
            for resolver in drained {
                if is_sent { resolver.callback(()) } else { resolver.errback(stdin_closed()) }
            }
            Ok(())
        });
        if closed.is_some() {
            drop(closed);
            state.drop_outgoing();
            self.call(|protocol, process| protocol.in_connection_lost(process));
        }
    }

    /// Reads once from an output. Returns `true` if there may be more.
    fn read(&mut self, context: &mut Context<'_>, output: usize) -> bool {
        let state = self.state();
        let Some(pipe) = &mut self.outputs[output] else { return false };
        let buffers = state.reactor.extension(Buffers::default);
        let mut buffer = buffers.for_reading();
        let read = if state.closes_outputs.get() { Poll::Ready(Ok(0)) } else { pipe.poll_read(context, &mut buffer) };
        let more = match read {
            Poll::Pending => false,
            Poll::Ready(Ok(length)) if length > 0 => {
                let data = &buffer[..length];
                self.call(|protocol, process| match output {
                    0 => protocol.out_received(process, data),
                    _ => protocol.err_received(process, data),
                });
                true
            }
            Poll::Ready(_) => {
                self.outputs[output] = None;
                self.call(|protocol, process| match output {
                    0 => protocol.out_connection_lost(process),
                    _ => protocol.err_connection_lost(process),
                });
                false
            }
        };
        buffers.return_read_buffer(buffer);
        more
    }

    /// Receives the end of the process.
    fn receive_exit(&mut self, context: &mut Context<'_>) {
        if self.has_exited {
            return;
        }
        if let Poll::Ready(status) = Pin::new(&mut self.exit).poll(context) {
            self.has_exited = true;
            self.status = status.ok();
            if let Some(status) = self.status {
                self.call(|protocol, process| protocol.process_exited(process, status));
            }
        }
    }

    /// Notifies the protocol and those who wait.
    fn finish(&mut self) {
        let state = self.state();
        state.has_ended.set(true);
        let (stdin, waker) = (state.stdin.take(), state.waker.take());
        drop((stdin, waker)); // after the borrows
        state.drop_outgoing();
        self.outputs = [None, None];
        let (status, drained, ended) = (self.status, state.drained.take(), state.ended.take());
        state.status.set(status);
        self.call(|protocol, _| {
            protocol.process_ended(status);
            Ok(())
        });
        drained.into_iter().for_each(|resolver| resolver.errback(stdin_closed()));
        match status {
            Some(status) => ended.into_iter().for_each(|resolver| resolver.callback(status)),
            None => drop(ended), // the reactor was closed: `Abandoned`
        }
        for failure in std::mem::take(&mut self.failures) {
            let failed = failure.wrap(|failure| ProtocolFailed { protocol: type_name::<P>(), failure });
            // The error of a coroutine is reported, with the location where the program has started
            // it.
            drop(state.reactor.ensure_deferred_at::<()>(self.at, ready(Err(failed))));
        }
    }
}

impl<P: ProcessProtocol> Future for Run<P> {
    type Output = Result<(), Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let state = this.state();
        *state.waker.borrow_mut() = Some(context.waker().clone());
        if !this.started {
            this.started = true;
            this.call(|protocol, process| protocol.process_started(process));
        }
        for _ in 0..MAX_ROUNDS {
            state.dirty.set(false);
            this.write(context);
            let mut more = false;
            for output in 0..2 {
                if !state.paused.get() || state.closes_outputs.get() {
                    more |= this.read(context, output);
                }
            }
            this.receive_exit(context);
            if this.has_exited && this.outputs.iter().all(Option::is_none) {
                let stdin = state.stdin.take();
                if stdin.is_some() {
                    drop(stdin);
                    this.call(|protocol, process| protocol.in_connection_lost(process));
                }
                this.finish();
                return Poll::Ready(Ok(()));
            }
            if !more && !state.dirty.get() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<P: ProcessProtocol> Drop for Run<P> {
    fn drop(&mut self) {
        if !self.process.has_ended() {
            // The reactor was closed.
            self.finish();
        }
    }
}
