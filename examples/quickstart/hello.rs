//! A Deferred and its callbacks, without a loop.
//!
//! ```text
//! cargo run --example quickstart_hello
//! ```

use deferred_core::{Deferred, Failure};

fn main() {
    // A function that has no result yet returns a Deferred, and keeps the resolver.
    let (deferred, resolver) = Deferred::<&str>::new();

    // The caller adds callbacks. Each receives the result of the previous one.
    let deferred = deferred
        .add_callback(|name| if name.is_empty() { Err(Failure::msg("no name")) } else { Ok(format!("hello, {name}")) })
        .add_errback(|failure| Ok(format!("hello, stranger ({failure})")))
        .add_callback(|greeting| println!("{greeting}"));

    // Firing runs the callbacks inside this call.
    resolver.callback("world");
    drop(deferred);

    // A callback on a Deferred that has fired runs at once.
    drop(Deferred::<&str>::succeed("again").add_callback(|word| println!("{word}")));
}
