//! Repeated and later calls.

use std::process::ExitCode;
use std::time::Duration;

use deferred_mio::{LoopingCall, react};

const LOOP_TIMES: u32 = 3;
const DELAY: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    react(|reactor| {
        let mut count = 0;
        let ticks = LoopingCall::with_self(reactor, move |ticks| {
            count += 1;
            println!("tick {count}");
            if count == LOOP_TIMES {
                ticks.stop();
            }
        });
        let reactor = reactor.clone();
        ticks.start(DELAY).add_callback(move |_| {
            println!("the loop has ended");
            reactor.defer_later(DELAY, || println!("and a little later"))
        })
    })
}
