//! A loop that is there already, such as a GUI's, with the reactor inside.
//!
//! ```text
//! cargo run --example foreign_loop
//! ```
//!
//! The toolkit of this example has what they all have: a queue of events that it waits on, and a
//! function that any thread may call to put one there. The reactor needs no more. Its waker posts
//! an event; when that comes, the program turns the reactor; and what the turn says is how long the
//! toolkit may wait for its next event.
//!
//! It shows a timer of the loop between clicks, a result from a thread of the pool that a click has
//! asked for, and a modal dialog: a loop inside a callback, which goes on turning the reactor.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use deferred_examples::Story;
use deferred_threadpool::{LoopingCall, Reactor, ReactorOwner, Turn, defer_to_thread};

/// What the toolkit's queue has.
#[derive(Clone, Copy, Debug)]
enum Event {
    Click(&'static str),
    /// Somebody wants the reactor to be turned.
    Wake,
}

/// The toolkit: events, one after the other.
struct Toolkit {
    events: Receiver<Event>,
    reactor: ReactorOwner,
    waker: Waker,
    quit: Cell<bool>,
    story: Story,
}

/// Posts an event, from whichever thread.
struct Post(SyncSender<Event>);

impl Wake for Post {
    fn wake(self: Arc<Self>) {
        // A full queue has an event that does as well: every event is followed by a turn.
        let _ = self.0.try_send(Event::Wake);
    }
}

impl Toolkit {
    /// Handles events until `done`; also inside a callback, for a modal dialog.
    fn run(self: &Rc<Self>, done: impl Fn() -> bool) {
        while !done() {
            // After each event, since its handler may have used the reactor.
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
        let _entered = self.reactor.enter(); // for `defer_to_thread`
        match button {
            "load" => {
                let story = self.story;
                let load = defer_to_thread(|| {
                    thread::sleep(Duration::from_millis(250)); // a file, say
                    Ok("a document")
                });
                drop(load.add_callback(move |document| story.say(format_args!("loaded: {document}"))));
            }
            "ask" => {
                // The dialog closes by itself; while it is open, timers of the reactor run and
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

/// The user.
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
    let waker = Waker::from(Arc::new(Post(sender.clone())));
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
