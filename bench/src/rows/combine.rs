//! Combinators.

use std::hint::black_box;
use std::task::{Context, Poll, Waker};

use deferred_core::{Deferred, gather};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::join_all;

use crate::sample::{Row, Side};

pub(crate) fn rows() -> Vec<Row> {
    vec![gather_10_000()]
}

const MEMBERS: u64 = 10_000;

fn gather_10_000() -> Row {
    Row {
        name: "combine/gather of 10,000",
        per: MEMBERS as u32,
        unit: "member",
        ours: gathered(MEMBERS),
        peer: joined(MEMBERS),
    }
}

pub(super) fn gathered(members: u64) -> Side {
    Side::new("made, gathered, fired", move || {
        let (deferreds, resolvers): (Vec<_>, Vec<_>) = (0..members).map(|_| Deferred::<u64>::new()).unzip();
        let all = gather(deferreds);
        for resolver in resolvers {
            resolver.callback(black_box(1));
        }
        let values = all.try_take().ok().and_then(Result::ok).expect("all have fired");
        black_box(values.into_iter().sum::<u64>());
    })
}

pub(super) fn joined(members: u64) -> Side {
    Side::new("join_all over oneshots", move || {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..members).map(|_| oneshot::channel::<u64>()).unzip();
        let mut all = join_all(receivers);
        let mut context = Context::from_waker(Waker::noop());
        assert!(all.poll_unpin(&mut context).is_pending());
        for sender in senders {
            sender.send(black_box(1)).expect("the receiver lives");
        }
        let values = loop {
            if let Poll::Ready(values) = all.poll_unpin(&mut context) {
                break values;
            }
        };
        black_box(values.into_iter().map(|value| value.expect("it was sent")).sum::<u64>());
    })
}
