//! A small service with three faults, and the reports that show where it is stuck.
//!
//! 1. The bank never replies to some orders: their resolvers stay in a map forever.
//! 2. Two coroutines wait for each other.
//! 3. A timer blocks the loop.
//!
//! A [`Watchdog`] reports the third one while it happens. For the others, the program prints what
//! is pending, and on what. A program that runs can print the same list when it receives `SIGUSR1`:
//! see `Reactor::report_pending_on_sigusr1`.
//!
//! ```text
//! cargo run --example where_is_it_stuck
//! ```

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use deferred_core::{Deferred, Failure, Reactor, Resolver, Watchdog, inline_callbacks, inspect, park};

/// The orders that wait for the reply of the bank, by their numbers.
#[derive(Clone, Default)]
struct Orders {
    waiting: Rc<RefCell<BTreeMap<u32, Resolver<String>>>>,
}

impl Orders {
    /// Sends an order to the bank. The returned Deferred fires with the reply.
    fn order(&self, number: u32) -> Deferred<String> {
        let (reply, resolver) = Deferred::new();
        self.waiting.borrow_mut().insert(number, resolver);
        // Inspection shows this text; without it, the list would show the line only.
        reply.describe(move |it| it.set_details(format!("the reply for order {number}")))
    }

    /// Receives a reply of the bank.
    fn reply_received(&self, number: u32) {
        let waiting = self.waiting.borrow_mut().remove(&number);
        if let Some(resolver) = waiting {
            resolver.callback("paid".to_owned());
        }
    }
}

/// Starts a coroutine for each order.
fn start_orders(orders: &Orders) -> Vec<Deferred<()>> {
    let start = |number| {
        let reply = orders.order(number);
        inline_callbacks(async move {
            println!("order {number}: {}", reply.await?);
            Ok(())
        })
    };
    (1..=6).map(start).collect()
}

/// Starts two coroutines that wait for each other: the second fault.
fn start_updates(reactor: &Reactor) {
    let price_slot = Rc::new(Cell::new(None));
    let (reactor, price) = (reactor.clone(), price_slot.clone());
    let stock_update = inline_callbacks(async move {
        reactor.sleep(Duration::from_millis(1)).await?;
        let price: Deferred<()> = price.take().expect("it was started");
        price.await
    });
    let price_update = inline_callbacks(stock_update.into_future());
    price_slot.set(Some(price_update));
}

/// Compresses a file on the loop: the third fault.
fn compress() {
    thread::sleep(Duration::from_millis(60));
}

fn serve(reactor: &Reactor) -> Result<Deferred<()>, Failure> {
    Watchdog::new().threshold(Duration::from_millis(20)).start(reactor)?;
    let orders = Orders::default();
    let pending_orders = start_orders(&orders);
    start_updates(reactor);
    // The first fault: there are six orders, and these have no timeout.
    for number in 1..=3 {
        let orders = orders.clone();
        reactor.call_later(Duration::from_millis(1), move || orders.reply_received(number));
    }
    reactor.call_later(Duration::from_millis(5), compress);

    let reactor = reactor.clone();
    Ok(inline_callbacks(async move {
        reactor.sleep(Duration::from_millis(100)).await?;
        println!("\nAfter a while, the program asks what is pending:\n\n{}\n", reactor.pending());
        pending_orders.into_iter().for_each(|order| drop(order.add_errback(|_| Ok(()))));
        drop(orders);
        Ok(())
    }))
}

fn main() -> ExitCode {
    let _on = inspect::enable();
    park::react(|reactor| serve(reactor).unwrap_or_else(Deferred::fail))
}
