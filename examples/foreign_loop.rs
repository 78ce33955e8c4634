//! The reactor inside an existing event loop, such as that of a GUI toolkit.
//!
//! ```text
//! cargo run --example foreign_loop
//! ```
//!
//! The toolkit of this example has what all toolkits have: an event queue, and a function that any
//! thread may call to post an event. The reactor needs no more: its waker posts an event, the
//! program runs a turn of the reactor after each event, and the turn returns how long the toolkit
//! may wait for its next event.
//!
//! The example shows a timer of the reactor between clicks, a result from a thread of the pool that
//! a click requested, and a modal dialog: a nested event loop inside a callback, which keeps
//! running the reactor.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use deferred_examples::Story;
use deferred_threadpool::{LoopingCall, Reactor, ReactorOwner, Turn, defer_to_thread};

/// An event of the toolkit.
#[derive(Clone, Copy, Debug)]
enum Event {
    Click(&'static str),
    /// The reactor's waker was called.
    Wake,
}

/// The toolkit: handles events one by one.
struct Toolkit {
    events: Receiver<Event>,
    reactor: ReactorOwner,
    waker: Waker,
    quit: Cell<bool>,
    story: Story,
}

/// A waker that posts an event, from any thread.
struct PostWake(SyncSender<Event>);

impl Wake for PostWake {
    fn wake(self: Arc<Self>) {
        // In a full queue any other event serves as well, because each event is followed by a turn.
        let _ = self.0.try_send(Event::Wake);
    }
}

impl Toolkit {
    /// Handles events until `done` returns `true`. May be called inside a callback, for a modal
    /// dialog.
    fn run(self: &Rc<Self>, done: impl Fn() -> bool) {
        while !done() {
            // Runs after each event, because its handler may have used the reactor.
            let wait = match self.reactor.turn(&self.waker) {
                Turn::Again => Some(Instant::now()),
                Turn::Sleep(until) => until,
                Turn::Stopped => return,
            };
            let event = match wait {
                Some(until) => self.events.recv_timeout(until.saturating_duration_since(Instant::now())),
                None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(Event::Click(button)) => self.clicked(button),
                Ok(Event::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn clicked(self: &Rc<Self>, button: &'static str) {
        self.story.say(format_args!("click: {button}"));
        let _entered = self.reactor.enter(); // `defer_to_thread` uses the current reactor
        match button {
            "load" => {
                let story = self.story;
                let load = defer_to_thread(|| {
                    thread::sleep(Duration::from_millis(250)); // e.g. reads a file
                    Ok("a document")
                });
                drop(load.add_callback(move |document| story.say(format_args!("loaded: {document}"))));
            }
            "ask" => {
                // The dialog closes by itself. While it is open, timers of the reactor run and
                // clicks are handled.
                let open = Rc::new(Cell::new(true));
                let closes = open.clone();
                self.reactor.call_later(Duration::from_millis(300), move || closes.set(false));
                self.story.say("the dialog opens");
                self.run(|| !open.get());
                self.story.say("the dialog is closed");
            }
            _ => self.quit.set(true),
        }
    }
}

/// The user: clicks from another thread.
fn click(events: &SyncSender<Event>) {
    for (millis, button) in [(150, "load"), (400, "ask"), (100, "load"), (600, "quit")] {
        thread::sleep(Duration::from_millis(millis));
        if events.send(Event::Click(button)).is_err() {
            return;
        }
    }
}

fn main() {
    let story = Story::begin();
    let (sender, events) = mpsc::sync_channel(64);
    let waker = Waker::from(Arc::new(PostWake(sender.clone())));
    let toolkit = Rc::new(Toolkit { events, reactor: Reactor::new(), waker, quit: Cell::new(false), story });
    thread::spawn(move || click(&sender));

    let ticks = Rc::new(RefCell::new(0));
    let counted = ticks.clone();
    let ticking = LoopingCall::new(&toolkit.reactor, move || {
        *counted.borrow_mut() += 1;
        story.say(format_args!("tick {}", counted.borrow()));
    });
    drop(ticking.start(Duration::from_millis(200)));

    toolkit.run(|| toolkit.quit.get());
    toolkit.reactor.close();
    story.say(format_args!("the toolkit has quit, and the reactor is closed: {}", toolkit.reactor.is_closed()));
}
