//! The banks: a line from the customer, a moment, and the same line back.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use deferred_smol::net::{LineProtocol, Lines, Transport, listen_on_tcp};
use deferred_smol::{Failure, run};

use crate::LOOKS_UP;

const CLERKS: usize = 10;

/// Opens the bank with this name until the process ends, which it does with its standard input.
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
        _ => return Err("there is no such bank".into()),
    }
    Ok(())
}

/// Serves one customer, whoever does it, and waits where there is nothing to do.
fn serve(mut customer: TcpStream) -> io::Result<()> {
    let mut wish = String::new();
    BufReader::new(&customer).read_line(&mut wish)?;
    thread::sleep(LOOKS_UP);
    customer.write_all(wish.as_bytes())
}

/// One window: whoever is in front holds up all others.
fn queue(listener: &TcpListener) {
    for customer in listener.incoming().flatten() {
        let _ = serve(customer); // one who goes away is his own affair
    }
}

/// A process for each customer, who is its standard input.
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

/// The process for one customer.
pub(crate) fn teller() -> Result<(), Box<dyn Error>> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        serve(io::stdin().as_fd().try_clone_to_owned()?.into())?;
    }
    Ok(())
}

/// Ten clerks, who call the next customer when they are done with one.
fn threads(listener: &TcpListener) -> Result<(), Box<dyn Error>> {
    let clerks = (1..CLERKS).map(|_| listener.try_clone()).collect::<Result<Vec<_>, _>>()?;
    for clerk in clerks {
        thread::spawn(move || queue(&clerk));
    }
    queue(listener);
    Ok(())
}

/// The robot: sets aside whoever waits.
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
