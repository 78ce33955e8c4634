//! The servers: each echoes its input on one thread. Each is a process that prints its port and
//! ends when its standard input is closed.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process;
use std::thread;

use deferred_smol::net::{Protocol, Transport, listen_tcp};
use deferred_smol::{Failure, Watchdog, inline_callbacks, run};
use smol::LocalExecutor;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

use super::WATCHED;
use crate::sample::Cores;

const ANY: &str = "127.0.0.1:0";
const BUFFER: usize = 4096;

/// Runs the server with this name until the process ends.
pub(crate) fn run_one(name: &str) -> Result<(), Box<dyn Error>> {
    Cores::Two.pin_this();
    if name == WATCHED {
        return watched();
    }
    thread::spawn(|| {
        await_end();
        process::exit(0)
    });
    match name {
        "Protocol" => with_protocol(),
        "mio" => with_mio(),
        "coroutines" => with_coroutines(),
        "smol" => plain_smol(),
        "tokio" => plain_tokio(),
        _ => Err("unknown server".into()),
    }
}

/// Waits until standard input is closed.
fn await_end() {
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
}

fn print_port(address: SocketAddr) {
    println!("{}", address.port());
}

struct Echo;

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        // It reads no faster than its peer does, like the servers with a task per connection.
        transport.register_producer(transport.clone());
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }
}

fn with_protocol() -> Result<(), Box<dyn Error>> {
    run(|reactor| {
        let port = listen_tcp(reactor, ANY, |_| Echo)?;
        port.local_addr().into_iter().for_each(print_port);
        Ok::<_, io::Error>(())
    })?;
    Ok(())
}

fn with_mio() -> Result<(), Box<dyn Error>> {
    deferred_mio::run(|reactor| {
        let port = listen_tcp(reactor, ANY, |_| Echo)?;
        port.local_addr().into_iter().for_each(print_port);
        Ok::<_, io::Error>(())
    })?;
    Ok(())
}

/// Serves with a watchdog, and prints the longest turn in microseconds at the end.
fn watched() -> Result<(), Box<dyn Error>> {
    run(|reactor| {
        Watchdog::new().hook(|_| ()).start(reactor)?;
        let watched = reactor.clone();
        let (ended, resolver) = reactor.remote();
        thread::spawn(move || {
            await_end();
            resolver.callback(());
        });
        drop(ended.add_callback(move |()| -> Result<(), Failure> {
            println!("{}", watched.health().turn_times.max().as_micros());
            process::exit(0)
        }));
        let port = listen_tcp(reactor, ANY, |_| Echo)?;
        port.local_addr().into_iter().for_each(print_port);
        Ok::<_, io::Error>(())
    })?;
    Ok(())
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length]).await?,
        }
    }
}

fn with_coroutines() -> Result<(), Box<dyn Error>> {
    run(|_| {
        drop(inline_callbacks(async {
            let listener = TcpListener::bind(ANY).await?;
            print_port(listener.local_addr()?);
            loop {
                let (stream, _) = listener.accept().await?;
                drop(inline_callbacks(async move {
                    let _ = serve(stream).await;
                    Ok(())
                }));
            }
            #[expect(unreachable_code, reason = "it says of which type the coroutine is")]
            Ok(())
        }));
    });
    Ok(())
}

fn plain_smol() -> Result<(), Box<dyn Error>> {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind(ANY).await?;
        print_port(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            executor.spawn(serve(stream)).detach();
        }
    }))
}

fn plain_tokio() -> Result<(), Box<dyn Error>> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind(ANY).await?;
        print_port(listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::task::spawn_local(async move {
                stream.set_nodelay(true)?;
                let mut buffer = [0; BUFFER];
                loop {
                    match stream.read(&mut buffer).await? {
                        0 => return Ok::<_, io::Error>(()),
                        length => stream.write_all(&buffer[..length]).await?,
                    }
                }
            });
        }
    })
}
