//! The publisher, which sends a message again until the server has confirmed it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use deferred_smol::{Deferred, Failure, concurrent, inline_callbacks};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel};

use crate::{MESSAGES, Shared, WORK, close, reopen};

/// The number of messages that await confirmation at once.
const MAX_UNCONFIRMED: usize = 50;
/// The delivery mode of messages that the server writes to disk before it confirms them.
const PERSISTENT: u8 = 2;

/// Sends all messages. The Deferred fires when the server has confirmed each of them.
pub(crate) fn publish(shared: Rc<Shared>) -> Deferred<()> {
    inline_callbacks(async move {
        let unconfirmed = Rc::new(RefCell::new((0..MESSAGES).collect::<BTreeSet<u32>>()));
        while !unconfirmed.borrow().is_empty() {
            let (connection, channel) = reopen(&shared).await?;
            if let Err(failure) = publish_some(&shared, channel, &unconfirmed).await {
                shared.story.say(format_args!("the publisher lost its connection: {failure}"));
                shared.reconnected.set(shared.reconnected.get() + 1);
                continue;
            }
            close(connection).await;
        }
        Ok(())
    })
}

/// Sends the unconfirmed messages until the connection breaks.
async fn publish_some(
    shared: &Rc<Shared>,
    channel: Channel,
    unconfirmed: &Rc<RefCell<BTreeSet<u32>>>,
) -> Result<(), Failure> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (messages, shared, unconfirmed) = (unconfirmed.borrow().clone(), shared.clone(), unconfirmed.clone());
    let all = concurrent(MAX_UNCONFIRMED).map(messages, move |message| {
        let (shared, unconfirmed, channel) = (shared.clone(), unconfirmed.clone(), channel.clone());
        inline_callbacks(async move {
            shared.reactor.sleep(Duration::from_millis(50)).await?; // slow enough to be interrupted by the restart
            let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
            let text = message.to_string();
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish("".into(), WORK.into(), options, text.as_bytes(), properties).await?;
            if !sent.await?.is_ack() {
                return Err(Failure::msg("the server did not take a message"));
            }
            unconfirmed.borrow_mut().remove(&message);
            shared.confirmed.set(shared.confirmed.get() + 1);
            Ok(())
        })
    });
    all.await?;
    Ok(())
}
