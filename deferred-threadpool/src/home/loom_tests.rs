//! Every interleaving of bringing, delivering and closing.

use std::collections::VecDeque;
use std::sync::Arc;

use loom::sync::Notify;
use loom::thread;

use super::{Brought, List};

/// Deliveries are posted to this.
struct Reactor {
    list: List<u8>,
    posts: crate::sync::Mutex<usize>,
    bell: Notify,
}

impl Reactor {
    fn new() -> Arc<Reactor> {
        Arc::new(Reactor { list: List::new(), posts: crate::sync::Mutex::new(0), bell: Notify::new() })
    }

    fn post(&self) {
        *self.posts.lock() += 1;
        self.bell.notify();
    }

    fn bring(&self) {
        match self.list.bring(1) {
            Brought::Post => self.post(),
            Brought::Done | Brought::Closed(_) => {}
        }
    }
}

#[test]
fn loom_what_is_brought_is_delivered_one_at_a_time() {
    loom::model(|| {
        let reactor = Reactor::new();
        let bring: Vec<_> = (0..2)
            .map(|_| {
                let reactor = reactor.clone();
                thread::spawn(move || reactor.bring())
            })
            .collect();
        let (mut left, mut delivered) = (VecDeque::new(), 0);
        while delivered < 2 {
            // If nothing is posted for what is there, loom reports a deadlock.
            while *reactor.posts.lock() == 0 {
                reactor.bell.wait();
            }
            *reactor.posts.lock() -= 1;
            left.extend(reactor.list.take(VecDeque::new()));
            if left.len() > 1 && reactor.list.post_next() {
                reactor.post();
            }
            // A batch of one.
            delivered += usize::from(left.pop_front().is_some());
        }
        for bring in bring {
            bring.join().unwrap();
        }
    });
}

#[test]
fn loom_a_closed_list_holds_nothing() {
    loom::model(|| {
        let reactor = Reactor::new();
        let brings = reactor.clone();
        let bring = thread::spawn(move || matches!(brings.list.bring(1), Brought::Closed(_)));
        let there = reactor.list.close().len();
        let refused = bring.join().unwrap();
        assert_eq!(there + usize::from(refused), 1);
        assert!(reactor.list.take(VecDeque::new()).is_empty());
    });
}
