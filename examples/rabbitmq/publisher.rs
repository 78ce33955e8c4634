//! Who sends, and sends again what was not confirmed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use deferred_smol::{Deferred, Failure, concurrent, inline_callbacks};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel};

use crate::{MESSAGES, Shared, WORK, close, reopen};

/// So many are under way at once.
const AT_ONCE: usize = 50;
/// Is written to disk before it is confirmed.
const PERSISTENT: u8 = 2;

/// Sends all messages. Fires when the server has confirmed each.
pub(crate) fn publish(shared: Rc<Shared>) -> Deferred<()> {
    inline_callbacks(async move {
        let left = Rc::new(RefCell::new((0..MESSAGES).collect::<BTreeSet<u32>>()));
        while !left.borrow().is_empty() {
            let (connection, channel) = reopen(&shared).await?;
            if let Err(failure) = publish_some(&shared, channel, &left).await {
                shared.story.say(format_args!("the publisher is cut off: {failure}"));
                shared.reconnected.set(shared.reconnected.get() + 1);
                continue;
            }
            close(connection).await;
        }
        Ok(())
    })
}

/// Sends what is left, until the connection breaks.
async fn publish_some(shared: &Rc<Shared>, channel: Channel, left: &Rc<RefCell<BTreeSet<u32>>>) -> Result<(), Failure> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (messages, shared, left) = (left.borrow().clone(), shared.clone(), left.clone());
    let all = concurrent(AT_ONCE).map(messages, move |message| {
        let (shared, left, channel) = (shared.clone(), left.clone(), channel.clone());
        inline_callbacks(async move {
            shared.reactor.sleep(Duration::from_millis(50)).await?; // or it would be over before the restart
            let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
            let text = message.to_string();
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish("".into(), WORK.into(), options, text.as_bytes(), properties).await?;
            if !sent.await?.is_ack() {
                return Err(Failure::msg("the server did not take a message"));
            }
            left.borrow_mut().remove(&message);
            shared.confirmed.set(shared.confirmed.get() + 1);
            Ok(())
        })
    });
    all.await?;
    Ok(())
}
