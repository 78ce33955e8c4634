//! The consumer: each message is handled by a chain of callbacks, and acknowledged when that
//! succeeds.

use std::rc::Rc;
use std::time::Duration;

use deferred_smol::smol::stream::StreamExt;
use deferred_smol::{Deferred, Failure, inline_callbacks};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};

use crate::{Shared, WORK, reopen};

/// The maximum number of unacknowledged messages that the server sends.
const PREFETCH: u16 = 100;

/// Consumes messages until it is cancelled, and reconnects when the connection breaks.
pub(crate) fn consume(shared: Rc<Shared>) -> Deferred<()> {
    inline_callbacks(async move {
        loop {
            let (_connection, channel) = reopen(&shared).await?;
            if let Err(failure) = consume_some(&shared, channel).await {
                shared.story.say(format_args!("the consumer lost its connection: {failure}"));
            }
            shared.reconnected.set(shared.reconnected.get() + 1);
        }
    })
}

/// Consumes messages until the connection breaks.
async fn consume_some(shared: &Rc<Shared>, channel: Channel) -> Result<(), Failure> {
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer = channel.basic_consume(WORK.into(), "deferred".into(), options, arguments).await?;
    while let Some(delivery) = consumer.next().await {
        drop(settle(shared, delivery?)); // up to `PREFETCH` messages are handled concurrently
    }
    Ok(())
}

/// Handles one message, then acknowledges or rejects it.
fn settle(shared: &Rc<Shared>, Delivery { data, acker, .. }: Delivery) -> Deferred<()> {
    let number = std::str::from_utf8(&data).ok().and_then(|text| text.parse().ok());
    let Some(number) = number else { return Deferred::from_coroutine(reject(acker)) };
    let (done, rejected, rejecting_acker) = (shared.clone(), shared.clone(), acker.clone());
    let settled = handle(shared, number).add_callbacks(
        move |()| {
            inline_callbacks(async move {
                acknowledge(acker).await?;
                let again = !done.done.borrow_mut().insert(number);
                done.twice.set(done.twice.get() + u32::from(again));
                Ok(())
            })
        },
        move |_| {
            inline_callbacks(async move {
                reject(rejecting_acker).await?;
                rejected.rejected.borrow_mut().insert(number);
                Ok(())
            })
        },
    );
    // If the connection broke before the acknowledgment, the server sends the message again.
    settled.add_errback(|_| Ok(()))
}

/// Simulates work that takes up to 9 ms and fails for every hundredth message.
fn handle(shared: &Shared, number: u32) -> Deferred<()> {
    let work = shared.reactor.sleep(Duration::from_millis(u64::from(number % 10)));
    work.add_callback(move |()| if number % 100 == 99 { Err(Failure::msg("invalid message")) } else { Ok(()) })
}

async fn acknowledge(acker: Acker) -> Result<(), Failure> {
    check_sent(acker.ack(BasicAckOptions::default()).await?)
}

async fn reject(acker: Acker) -> Result<(), Failure> {
    check_sent(acker.reject(BasicRejectOptions { requeue: false }).await?)
}

fn check_sent(sent: bool) -> Result<(), Failure> {
    if sent { Ok(()) } else { Err(Failure::msg("the connection of the message is closed")) }
}
