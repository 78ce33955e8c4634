//! A web server on tokio's multi-thread runtime, whose handlers ask a loop on a thread of its own.
//! That loop owns what must stay on one thread: a connection of SQLite, and the handle of a library
//! that calls back.
//!
//! ```text
//! cargo run --example tokio
//! ```
//!
//! - `main.rs`: the server, and the clients that show it: twenty at once, one that hangs up;
//! - `backend.rs`: the state of the loop;
//! - `sensors.rs`: the library, in the style of many C libraries.

mod backend;
mod sensors;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use backend::Backend;
use deferred_examples::Story;
use deferred_tokio::{Failure, ReactorThread, start_thread, tokio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// Any clone, in any task of any thread, can call the loop.
type Loop = ReactorThread<Backend>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let story = Story::begin();
    let backend: Loop = start_thread(move |reactor| Backend::open(reactor, story)).await?;

    let server = Router::new()
        .route("/measure/{sensor}", get(measure))
        .route("/average", get(average))
        .with_state(backend.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serves = axum::serve(listener, server).with_graceful_shutdown(async { drop(stopped.await) });
    let serves = tokio::spawn(serves.into_future());

    let clients: Vec<_> = (1..=20).map(|sensor| tokio::spawn(fetch(address, format!("/measure/{sensor}")))).collect();
    let mut answers = 0;
    for client in clients {
        answers += usize::from(client.await??.starts_with("sensor "));
    }
    story.say(format_args!("{answers} clients were answered"));
    story.say(fetch(address, "/average".into()).await?);
    story.say(fetch(address, "/measure/-1".into()).await?);

    // The slow sensor takes ten seconds. This client does not wait.
    let hangs_up = tokio::time::timeout(Duration::from_millis(100), fetch(address, "/measure/0".into()));
    story.say(format_args!("the client hangs up: {}", hangs_up.await.is_err()));
    while backend.call(|backend| Ok(backend.cancelled())).await? == 0 {
        sleep(Duration::from_millis(1)).await;
    }

    drop(stop);
    serves.await??;
    backend.stop().await?;
    story.say("the server and the loop have ended");
    Ok(())
}

/// Measures, and stores the value. If the client hangs up, the server drops this future, and with
/// it that of the call, which cancels the measurement.
async fn measure(State(backend): State<Loop>, Path(sensor): Path<i32>) -> Result<String, (StatusCode, String)> {
    let value = backend.call(move |backend| backend.measure(sensor)).await.map_err(internal)?;
    Ok(format!("sensor {sensor}: {value} degrees"))
}

async fn average(State(backend): State<Loop>) -> Result<String, (StatusCode, String)> {
    let average = backend.call(|backend| backend.average()).await.map_err(internal)?;
    Ok(format!("the average is {average} degrees"))
}

fn internal(failure: Failure) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, failure.to_string())
}

/// Returns the body of the answer.
async fn fetch(address: SocketAddr, path: String) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}
