//! RabbitMQ: its consumer is a circle too, and here it is part of the loop's.
//!
//! ```text
//! apt-get install rabbitmq-server
//! rabbitmq-server -detached && rabbitmqctl await_startup
//! cargo run --release --example rabbitmq
//! ```
//!
//! Four thousand messages go from a publisher to a consumer, through a server that is restarted in
//! the middle, and none is lost: the publisher counts a message as sent when the server has
//! confirmed it, and the consumer acknowledges it when the chain of callbacks for it has succeeded.
//! When the chain fails, the message is rejected, and the server keeps it aside, in a queue of its
//! own. What either of the two has under way when the server goes is done again; so a message may
//! come twice, and here that is counted.
//!
//! | Python | here |
//! | --- | --- |
//! | `pika`'s consumer, which blocks, in a thread | `lapin` on smol: its consumer is a stream, awaited in a coroutine |
//! | `d = handle(body); d.addCallback(ack)` | `handle(message).add_callback(ack).add_errback(reject)` |
//! | a `ReconnectingClientFactory` | `reactor.retry(Backoff::new(..), ..)` |
//!
//! The server is the one at `AMQP_ADDR`, or at `amqp://127.0.0.1:5672`. It is restarted by
//! `rabbitmqctl`, as root or as the server's own user; where that cannot be, it is not. The example
//! ends by itself, after some eight seconds.

mod consumer;
mod publisher;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::env;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use deferred_examples::Story;
use deferred_smol::smol::process::Command;
use deferred_smol::{Backoff, Deferred, Failure, Reactor, inline_callbacks, react};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};

const MESSAGES: u32 = 4000;
const WORK: &str = "deferred-example";
/// Where the server keeps what was rejected.
const REJECTED: &str = "deferred-example-rejected";
const TIMEOUT: Duration = Duration::from_secs(18);

/// What all parts of the example know.
struct Shared {
    reactor: Reactor,
    story: Story,
    server: String,
    /// The messages that were acknowledged, and those that were rejected.
    done: RefCell<BTreeSet<u32>>,
    rejected: RefCell<BTreeSet<u32>>,
    twice: Cell<u32>,
    confirmed: Cell<u32>,
    reconnected: Cell<u32>,
}

impl Shared {
    fn settled(&self) -> u32 {
        (self.done.borrow().len() + self.rejected.borrow().len()) as u32
    }
}

/// A channel on a connection of its own, with both queues there.
fn open(server: String) -> Deferred<(Connection, Channel)> {
    inline_callbacks(async move {
        let connection = Connection::connect(&server, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let (durable, mut aside) = (QueueDeclareOptions::durable(), FieldTable::default());
        channel.queue_declare(REJECTED.into(), durable, FieldTable::default()).await?;
        aside.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
        aside.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(REJECTED.into()));
        channel.queue_declare(WORK.into(), durable, aside).await?;
        Ok((connection, channel))
    })
}

/// [`open`], again and again until the server is there.
fn reopen(shared: &Rc<Shared>) -> Deferred<(Connection, Channel)> {
    let (server, backoff) = (shared.server.clone(), Backoff::new(Duration::from_millis(100)));
    shared.reactor.retry(backoff.max_delay(Duration::from_secs(1)), move |_| open(server.clone()))
}

/// Restarts the server when a quarter of the messages is through.
fn restart(shared: Rc<Shared>) -> Deferred<()> {
    inline_callbacks(async move {
        while shared.settled() < MESSAGES / 4 {
            shared.reactor.sleep(Duration::from_millis(5)).await?;
        }
        for (command, told) in [("stop_app", "the server stops"), ("start_app", "the server is back")] {
            match Command::new("rabbitmqctl").arg(command).output().await {
                Ok(output) if output.status.success() => {
                    shared.story.say(format_args!("{told}, with {} of {MESSAGES} settled", shared.settled()));
                }
                Ok(output) => {
                    let told = String::from_utf8_lossy(&output.stderr).into_owned();
                    let why = told.trim().lines().next().unwrap_or("it does not say why");
                    shared
                        .story
                        .say(format_args!("rabbitmqctl {command} has failed, and so it is not restarted: {why}"));
                }
                Err(error) => shared.story.say(format_args!("without rabbitmqctl it is not restarted: {error}")),
            }
        }
        Ok(())
    })
}

/// Nothing waits to be sent or confirmed: that the other side may be quicker is no error.
async fn close(connection: Connection) {
    let _ = connection.close(200, "OK".into()).await;
}

/// Removes the queues.
async fn clean_up(channel: &Channel) -> Result<u32, Failure> {
    channel.queue_delete(WORK.into(), QueueDeleteOptions::default()).await?;
    Ok(channel.queue_delete(REJECTED.into(), QueueDeleteOptions::default()).await?)
}

fn program(shared: Rc<Shared>) -> Deferred<()> {
    inline_callbacks(async move {
        let story = shared.story;
        let (connection, channel) = open(shared.server.clone()).await.map_err(|failure| {
            Failure::msg(format!(
                "no RabbitMQ at {}: {failure}; start one by `rabbitmq-server -detached && rabbitmqctl await_startup`, \
                 which Debian has in the package rabbitmq-server, or name one by AMQP_ADDR",
                shared.server
            ))
        })?;
        // Of a run that was interrupted.
        clean_up(&channel).await?;
        close(connection).await;

        story.say("connected");
        let mut consumes = consumer::consume(shared.clone());
        let stops = consumes.cancel_handle();
        drop(consumes.add_errback(|_| Ok(()))); // it ends by that cancel
        let restarts = restart(shared.clone());
        publisher::publish(shared.clone()).await?;
        story.say(format_args!("the server has confirmed all {} messages", shared.confirmed.get()));
        restarts.await?;
        while shared.settled() < MESSAGES {
            shared.reactor.sleep(Duration::from_millis(5)).await?;
        }
        stops.cancel();

        let (connection, channel) = reopen(&shared).await?;
        let aside = clean_up(&channel).await?;
        close(connection).await;
        let (done, rejected) = (shared.done.borrow().len(), shared.rejected.borrow().len());
        story.say(format_args!("acknowledged {done}, rejected {rejected}; the server has kept aside {aside} of those"));
        story.say(format_args!("lost: {}", MESSAGES as usize - done - rejected));
        story.say(format_args!("came twice: {}; connected anew: {}", shared.twice.get(), shared.reconnected.get()));
        Ok(())
    })
}

fn main() -> ExitCode {
    react(|reactor| {
        let shared = Rc::new(Shared {
            reactor: reactor.clone(),
            story: Story::begin(),
            server: env::var("AMQP_ADDR").unwrap_or_else(|_| "amqp://127.0.0.1:5672/%2f".to_owned()),
            done: RefCell::default(),
            rejected: RefCell::default(),
            twice: Cell::new(0),
            confirmed: Cell::new(0),
            reconnected: Cell::new(0),
        });
        program(shared).add_timeout(TIMEOUT, reactor)
    })
}
