//! Endpoints: addresses with options, also as text, on which a server listens or to which a client
//! connects.

mod client;
mod parse;
mod server;

pub use client::ClientEndpoint;
pub use parse::InvalidEndpoint;
pub use server::ServerEndpoint;
