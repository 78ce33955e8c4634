//! Who receives: each message is a chain of callbacks, and is acknowledged when that has succeeded.

use std::rc::Rc;
use std::time::Duration;

use deferred_smol::smol::stream::StreamExt;
use deferred_smol::{Deferred, Failure, inline_callbacks};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};

use crate::{Shared, WORK, reopen};

/// So many are under way at once, and no more are sent.
const AT_ONCE: u16 = 100;

/// Consumes until it is cancelled, through however many connections that takes.
pub(crate) fn consume(shared: Rc<Shared>) -> Deferred<()> {
    inline_callbacks(async move {
        loop {
            let (_connection, channel) = reopen(&shared).await?;
            if let Err(failure) = consume_some(&shared, channel).await {
                shared.story.say(format_args!("the consumer is cut off: {failure}"));
            }
            shared.reconnected.set(shared.reconnected.get() + 1);
        }
    })
}

/// Consumes until the connection breaks.
async fn consume_some(shared: &Rc<Shared>, channel: Channel) -> Result<(), Failure> {
    channel.basic_qos(AT_ONCE, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer = channel.basic_consume(WORK.into(), "deferred".into(), options, arguments).await?;
    while let Some(delivery) = consumer.next().await {
        drop(settle(shared, delivery?)); // many go on at once
    }
    Ok(())
}

/// Handles one message, and tells the server what came of it.
fn settle(shared: &Rc<Shared>, Delivery { data, acker, .. }: Delivery) -> Deferred<()> {
    let number = std::str::from_utf8(&data).ok().and_then(|text| text.parse().ok());
    let Some(number) = number else { return Deferred::from_coroutine(reject(acker)) };
    let (done, rejected, rejects) = (shared.clone(), shared.clone(), acker.clone());
    let told = handle(shared, number).add_callbacks(
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
                reject(rejects).await?;
                rejected.rejected.borrow_mut().insert(number);
                Ok(())
            })
        },
    );
    // The server has gone before it heard, and will send the message again.
    told.add_errback(|_| Ok(()))
}

/// What is done with a message: it takes a moment, and fails for some.
fn handle(shared: &Shared, number: u32) -> Deferred<()> {
    let checks = shared.reactor.sleep(Duration::from_millis(u64::from(number % 10)));
    checks.add_callback(move |()| if number % 100 == 99 { Err(Failure::msg("nobody wants this one")) } else { Ok(()) })
}

async fn acknowledge(acker: Acker) -> Result<(), Failure> {
    still_there(acker.ack(BasicAckOptions::default()).await?)
}

async fn reject(acker: Acker) -> Result<(), Failure> {
    still_there(acker.reject(BasicRejectOptions { requeue: false }).await?)
}

fn still_there(told: bool) -> Result<(), Failure> {
    if told { Ok(()) } else { Err(Failure::msg("the connection of the message is gone")) }
}
