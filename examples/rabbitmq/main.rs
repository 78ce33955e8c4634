//! RabbitMQ with a consumer on the loop.
//!
//! ```text
//! apt-get install rabbitmq-server
//! rabbitmq-server -detached; until rabbitmqctl -q await_startup; do sleep 1; done
//! cargo run --release --example rabbitmq
//! ```
//!
//! Four thousand messages go from a publisher to a consumer through a server that is restarted
//! halfway, and none is lost. The publisher sends a message again until the server has confirmed
//! it. The consumer acknowledges a message when its chain of callbacks has succeeded; if the chain
//! fails, it rejects the message, and the server moves it to a dead-letter queue. Messages that
//! either side was handling when the server stopped are sent again, so a message may arrive twice;
//! the example counts these.
//!
//! | Python | here |
//! | --- | --- |
//! | `pika`'s blocking consumer, in a thread | `lapin` on smol: its consumer is a stream, awaited in a coroutine |
//! | `d = handle(body); d.addCallback(ack)` | `handle(message).add_callback(ack).add_errback(reject)` |
//! | a `ReconnectingClientFactory` | `reactor.retry(Backoff::new(..), ..)` |
//!
//! The server's address is `AMQP_ADDR`, by default `amqp://127.0.0.1:5672`. `rabbitmqctl` restarts
//! the server, which requires root or the server's own user; without it the example runs without a
//! restart. It stops by itself after about eight seconds.

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

/// The command that starts a server, and waits for it. The first calls of `rabbitmqctl` may fail.
const START: &str = "rabbitmq-server -detached; until rabbitmqctl -q await_startup; do sleep 1; done";
const MESSAGES: u32 = 4000;
const WORK: &str = "deferred-example";
/// The queue to which the server moves rejected messages.
const REJECTED: &str = "deferred-example-rejected";
const TIMEOUT: Duration = Duration::from_secs(18);

/// State that all parts of the example share.
struct Shared {
    reactor: Reactor,
    story: Story,
    server: String,
    /// The numbers of the messages that were acknowledged.
    done: RefCell<BTreeSet<u32>>,
    /// The numbers of the messages that were rejected.
    rejected: RefCell<BTreeSet<u32>>,
    /// The number of messages that were delivered and acknowledged again.
    twice: Cell<u32>,
    /// The number of messages that the server has confirmed.
    confirmed: Cell<u32>,
    reconnected: Cell<u32>,
}

impl Shared {
    fn settled(&self) -> u32 {
        (self.done.borrow().len() + self.rejected.borrow().len()) as u32
    }
}

/// Opens a connection and a channel, and declares both queues.
fn open(server: String) -> Deferred<(Connection, Channel)> {
    inline_callbacks(async move {
        let connection = Connection::connect(&server, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let (durable, mut dead_letter) = (QueueDeclareOptions::durable(), FieldTable::default());
        channel.queue_declare(REJECTED.into(), durable, FieldTable::default()).await?;
        dead_letter.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
        dead_letter.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(REJECTED.into()));
        channel.queue_declare(WORK.into(), durable, dead_letter).await?;
        Ok((connection, channel))
    })
}

/// Like [`open`], but tries until the server accepts the connection.
fn reopen(shared: &Rc<Shared>) -> Deferred<(Connection, Channel)> {
    let (server, backoff) = (shared.server.clone(), Backoff::new(Duration::from_millis(100)));
    shared.reactor.retry(backoff.max_delay(Duration::from_secs(1)), move |_| open(server.clone()))
}

/// Restarts the server when a quarter of the messages has been settled.
fn restart(shared: Rc<Shared>) -> Deferred<()> {
    inline_callbacks(async move {
        while shared.settled() < MESSAGES / 4 {
            shared.reactor.sleep(Duration::from_millis(5)).await?;
        }
        for (command, event) in [("stop_app", "the server stops"), ("start_app", "the server is back")] {
            match Command::new("rabbitmqctl").arg(command).output().await {
                Ok(output) if output.status.success() => {
                    shared.story.say(format_args!("{event}, with {} of {MESSAGES} settled", shared.settled()));
                }
                Ok(output) => {
                    let output = String::from_utf8_lossy(&output.stderr).into_owned();
                    let why = output.trim().lines().next().unwrap_or("no reason was printed");
                    shared.story.say(format_args!("the server was not restarted: rabbitmqctl {command} failed: {why}"));
                }
                Err(error) => {
                    shared.story.say(format_args!("the server was not restarted: rabbitmqctl cannot be run: {error}"))
                }
            }
        }
        Ok(())
    })
}

/// Closes a connection. An error is ignored, because everything has been sent and confirmed.
async fn close(connection: Connection) {
    let _ = connection.close(200, "OK".into()).await;
}

/// Deletes the queues. Returns the number of messages in the dead-letter queue.
async fn clean_up(channel: &Channel) -> Result<u32, Failure> {
    channel.queue_delete(WORK.into(), QueueDeleteOptions::default()).await?;
    Ok(channel.queue_delete(REJECTED.into(), QueueDeleteOptions::default()).await?)
}

fn program(shared: Rc<Shared>) -> Deferred<()> {
    inline_callbacks(async move {
        let story = shared.story;
        let (connection, channel) = open(shared.server.clone()).await.map_err(|failure| {
            Failure::msg(format!(
                "no RabbitMQ at {}: {failure}; start one with `{START}`, from Debian's package rabbitmq-server, or set AMQP_ADDR",
                shared.server
            ))
        })?;
        // An earlier run may have been interrupted.
        clean_up(&channel).await?;
        close(connection).await;

        story.say("connected");
        let mut consuming = consumer::consume(shared.clone());
        let stop_consuming = consuming.cancel_handle();
        drop(consuming.add_errback(|_| Ok(()))); // ends when it is cancelled
        let restarting = restart(shared.clone());
        publisher::publish(shared.clone()).await?;
        story.say(format_args!("the server confirmed all {} messages", shared.confirmed.get()));
        restarting.await?;
        while shared.settled() < MESSAGES {
            shared.reactor.sleep(Duration::from_millis(5)).await?;
        }
        stop_consuming.cancel();

        let (connection, channel) = reopen(&shared).await?;
        let dead_letters = clean_up(&channel).await?;
        close(connection).await;
        let (done, rejected) = (shared.done.borrow().len(), shared.rejected.borrow().len());
        story.say(format_args!(
            "acknowledged {done}, rejected {rejected}; the dead-letter queue has {dead_letters} of these"
        ));
        story.say(format_args!("lost: {}", MESSAGES as usize - done - rejected));
        story.say(format_args!("delivered twice: {}; reconnects: {}", shared.twice.get(), shared.reconnected.get()));
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
