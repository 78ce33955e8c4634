//! The text form of endpoints.

use deferred_net::{ClientEndpoint, ServerEndpoint};

fn server(text: &str) -> String {
    match text.parse::<ServerEndpoint>() {
        Ok(endpoint) => format!("{endpoint:?}"),
        Err(error) => error.to_string(),
    }
}

fn client(text: &str) -> String {
    match text.parse::<ClientEndpoint>() {
        Ok(endpoint) => format!("{endpoint:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn servers_have_the_texts_of_twisted() {
    for (text, address) in [
        ("tcp:80", "0.0.0.0:80"),
        ("tcp:port=80", "0.0.0.0:80"),
        ("tcp:80:127.0.0.1", "127.0.0.1:80"),
        ("tcp:80:interface=127.0.0.1:backlog=7", "127.0.0.1:80"),
        (r"tcp:80:interface=\:\:1", "[::1]:80"),
        ("tcp6:80", "[::]:80"),
        (r"tcp6:80:interface=fe80\:\:1", "[fe80::1]:80"),
    ] {
        assert_eq!(server(text), format!("ServerEndpoint {{ address: {address:?}, .. }}"), "{text}");
    }
    #[cfg(unix)]
    assert_eq!(server(r"unix:/run/a\:b:mode=660"), "ServerEndpoint { address: \"/run/a:b\", .. }");
}

#[test]
fn clients_have_the_texts_of_twisted() {
    for (text, address) in [
        ("tcp:example.org:80", "\"example.org:80\", timeout: 30s"),
        ("tcp:host=example.org:port=80:timeout=1.5", "\"example.org:80\", timeout: 1.5s"),
        (r"tcp:\:\:1:80:bindAddress=\:\:1", "\"[::1]:80\", timeout: 30s"),
        #[cfg(unix)]
        ("unix:/run/x:timeout=5", "\"/run/x\", timeout: 5s"),
        #[cfg(unix)]
        ("unix:path=/run/x", "\"/run/x\", timeout: 30s"),
    ] {
        assert_eq!(client(text), format!("ClientEndpoint {{ address: {address}, .. }}"), "{text}");
    }
}

#[test]
fn an_error_names_the_text_and_the_reason() {
    for (text, why) in [
        ("", "the kind \"\" is unknown"),
        ("udp:80", "the kind \"udp\" is unknown"),
        ("tcp", "the port is missing"),
        ("tcp:", "the port is missing"),
        ("tcp:http", "port is \"http\": invalid digit"),
        ("tcp:70000", "number too large"),
        ("tcp:80:127.0.0.1:5", "the argument \"5\" is unknown"),
        ("tcp:80:nonsense=1", "the argument \"nonsense\" is unknown"),
        ("tcp:80:backlog=many", "backlog is \"many\""),
        ("tcp:interface=127.0.0.1:80", "\"80\" has no name"),
        ("tcp:80\\", "a backslash at the end"),
        ("ssl:443:privateKey=/nowhere/key.pem", "cannot read \"/nowhere/key.pem\""),
        #[cfg(unix)]
        ("unix:/x:mode=9", "mode is \"9\""),
    ] {
        let error = server(text);
        assert!(error.starts_with(&format!("the endpoint {text:?} is not valid: ")), "{error}");
        assert!(error.contains(why), "{error}");
    }
    for (text, why) in [
        ("tcp:host", "the port is missing"),
        ("tcp::80", "the host is missing"),
        ("tcp:host:80:timeout=-1", "timeout is -1"),
        ("tcp:host:80:timeout=soon", "timeout is \"soon\""),
        ("tcp:host:80:bindAddress=here", "bindAddress is \"here\""),
        ("ssl:host:443", "name the file or folder of the trusted certificates"),
        ("ssl:host:443:trustRoots=/nowhere.pem", "cannot read \"/nowhere.pem\""),
    ] {
        let error = client(text);
        assert!(error.contains(why), "{error}");
    }
}
