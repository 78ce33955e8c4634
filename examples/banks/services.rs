//! The banks: each reads a line from the customer, waits a moment, and sends the line back.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use deferred_smol::net::{LineProtocol, Lines, Transport, listen_on_tcp};
use deferred_smol::{Failure, run};

use crate::LOOKS_UP;

const CLERKS: usize = 10;

/// Runs the bank with this name until standard input is closed, which ends the process.
pub(crate) fn open(name: &str) -> Result<(), Box<dyn Error>> {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0)
    });
    let listener = TcpListener::bind::<SocketAddr>(([127, 0, 0, 1], 0).into())?;
    println!("{}", listener.local_addr()?.port());
    match name {
        "queue" => queue(&listener),
        #[cfg(unix)]
        "processes" => processes(&listener)?,
        "threads" => threads(&listener)?,
        "loop" => on_the_loop(listener)?,
        _ => return Err("unknown bank".into()),
    }
    Ok(())
}

/// Serves one customer, and blocks the thread while it waits.
fn serve(mut customer: TcpStream) -> io::Result<()> {
    let mut wish = String::new();
    BufReader::new(&customer).read_line(&mut wish)?;
    thread::sleep(LOOKS_UP);
    customer.write_all(wish.as_bytes())
}

/// The bank with one window, in which a customer delays all customers after it.
fn queue(listener: &TcpListener) {
    for customer in listener.incoming().flatten() {
        let _ = serve(customer); // a customer that disconnects needs no handling
    }
}

/// The bank with a process for each customer, whose socket is the standard input of the process.
#[cfg(unix)]
fn processes(listener: &TcpListener) -> Result<(), Box<dyn Error>> {
    use std::os::fd::OwnedFd;
    use std::process::Command;

    let this = std::env::current_exe()?;
    let mut tellers = Vec::new();
    for customer in listener.incoming() {
        tellers.push(Command::new(&this).arg("--teller").stdin(OwnedFd::from(customer?)).spawn()?);
        tellers.retain_mut(|teller| !matches!(teller.try_wait(), Ok(Some(_))));
    }
    Ok(())
}

/// Serves the customer on standard input, in the process of one customer.
pub(crate) fn teller() -> Result<(), Box<dyn Error>> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        serve(io::stdin().as_fd().try_clone_to_owned()?.into())?;
    }
    Ok(())
}

/// Ten clerks: each accepts the next customer when it has served one.
fn threads(listener: &TcpListener) -> Result<(), Box<dyn Error>> {
    let clerks = (1..CLERKS).map(|_| listener.try_clone()).collect::<Result<Vec<_>, _>>()?;
    for clerk in clerks {
        thread::spawn(move || queue(&clerk));
    }
    queue(listener);
    Ok(())
}

/// The robot: a timer answers each customer, so that the loop can serve others meanwhile.
struct Robot;

impl LineProtocol for Robot {
    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        let (customer, answer) = (transport.clone(), [line, b"\n"].concat());
        transport.reactor().call_later(LOOKS_UP, move || {
            customer.write(&answer);
            customer.lose_connection();
        });
        Ok(())
    }
}

fn on_the_loop(listener: TcpListener) -> io::Result<()> {
    run(|reactor| listen_on_tcp(reactor, listener, |_| Lines::new(Robot)))?;
    Ok(())
}
