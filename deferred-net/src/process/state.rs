//! `ProcessState`: the state that a process and its transports share.

use std::cell::{Cell, RefCell};
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::Waker;

use deferred_core::{Reactor, Resolver};

use super::Pipe;
use super::wait::SharedChild;
use crate::outgoing::Outgoing;

pub(super) struct ProcessState {
    pub(super) reactor: Reactor,
    pub(super) child: Arc<SharedChild>,
    /// The standard input. Empty when it is closed.
    pub(super) stdin: RefCell<Option<Box<dyn Pipe>>>,
    pub(super) outgoing: RefCell<Outgoing>,
    /// Whether the input is closed when all data is written.
    pub(super) closes_stdin: Cell<bool>,
    /// Whether written data was lost, because the process has closed its input or ended.
    pub(super) has_lost_input: Cell<bool>,
    /// Whether both outputs are closed.
    pub(super) closes_outputs: Cell<bool>,
    pub(super) paused: Cell<bool>,
    pub(super) has_ended: Cell<bool>,
    /// Whether the coroutine must look at this state again.
    pub(super) dirty: Cell<bool>,
    pub(super) waker: RefCell<Option<Waker>>,
    pub(super) drained: RefCell<Vec<Resolver<()>>>,
    /// The status, after the end.
    pub(super) status: Cell<Option<ExitStatus>>,
    pub(super) ended: RefCell<Vec<Resolver<ExitStatus>>>,
}

impl ProcessState {
    pub(super) fn new(reactor: &Reactor, child: Arc<SharedChild>, stdin: Box<dyn Pipe>) -> ProcessState {
        ProcessState {
            reactor: reactor.clone(),
            child,
            stdin: RefCell::new(Some(stdin)),
            outgoing: RefCell::default(),
            closes_stdin: Cell::new(false),
            has_lost_input: Cell::new(false),
            closes_outputs: Cell::new(false),
            paused: Cell::new(false),
            has_ended: Cell::new(false),
            dirty: Cell::new(false),
            waker: RefCell::default(),
            drained: RefCell::default(),
            status: Cell::new(None),
            ended: RefCell::default(),
        }
    }

    /// Drops the data that was not written.
    pub(super) fn drop_outgoing(&self) {
        let outgoing = self.outgoing.take();
        self.has_lost_input.set(self.has_lost_input.get() || !outgoing.is_empty());
    }

    /// Lets the coroutine look at this state soon.
    pub(super) fn touch(&self) {
        self.dirty.set(true);
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
