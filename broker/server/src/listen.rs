//! Where the broker listens: parses addresses, binds them, and says who holds a taken port.
//!
//! `localhost:PORT` means 127.0.0.1 and, where there is one, ::1, because clients differ in which
//! of the two they try first. Port 0 picks a free port, the same for both. weir never moves to
//! another port by itself: a client that was told 9092 would talk to somebody else.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::net::{TcpListener, TcpSocket};
use weir_client::process::{self, Holder};

/// Connections that the kernel keeps for us between two accepts.
const BACKLOG: u32 = 1024;
/// Free ports of 127.0.0.1 that are tried until one is free on ::1 too.
const PORT_TRIES_MAX: usize = 16;

/// Where a dialect listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// Nowhere.
    Off,
    /// On 127.0.0.1 and, where there is one, ::1.
    Localhost {
        /// The port; 0 for a free one.
        port: u16,
    },
    /// On this address alone. `[::]` takes in IPv4 too.
    Address(SocketAddr),
    /// On every address that a name has.
    Name {
        /// The name.
        host: String,
        /// The port; 0 for a free one.
        port: u16,
    },
}

impl ListenAddress {
    /// The port that is asked for; none if it listens nowhere.
    pub fn port(&self) -> Option<u16> {
        match self {
            ListenAddress::Off => None,
            ListenAddress::Localhost { port } | ListenAddress::Name { port, .. } => Some(*port),
            ListenAddress::Address(address) => Some(address.port()),
        }
    }
}

/// Why a text is not a [`ListenAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidListenAddress;

impl fmt::Display for InvalidListenAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("not HOST:PORT or off")
    }
}

impl std::error::Error for InvalidListenAddress {}

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<ListenAddress, InvalidListenAddress> {
        if text == "off" {
            return Ok(ListenAddress::Off);
        }
        if let Ok(address) = text.parse() {
            return Ok(ListenAddress::Address(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidListenAddress)?;
        let port = port.parse().map_err(|_| InvalidListenAddress)?;
        let is_name_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match host {
            "localhost" => Ok(ListenAddress::Localhost { port }),
            _ if host.is_empty() || !host.chars().all(is_name_letter) => Err(InvalidListenAddress),
            _ => Ok(ListenAddress::Name { host: host.to_owned(), port }),
        }
    }
}

/// Why a listener could not be bound, in one sentence.
#[derive(Debug)]
pub struct ListenError {
    flag: &'static str,
    address: String,
    holder: Option<Holder>,
    error: io::Error,
}

impl ListenError {
    /// Who has the address, if somebody has it and can be told.
    pub fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListenError { flag, address, holder, error } = self;
        match (error.kind(), holder) {
            (io::ErrorKind::AddrInUse, Some(holder)) => write!(
                out,
                "cannot listen on {address} ({flag}) because {holder} does already; stop it or \
                 choose another address with {flag}"
            ),
            (io::ErrorKind::AddrInUse, None) => write!(
                out,
                "cannot listen on {address} ({flag}) because another process does already; stop \
                 it or choose another address with {flag}"
            ),
            _ => write!(out, "cannot listen on {address} ({flag}): {error}"),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Binds everything that the address stands for; `flag` is named in errors.
pub async fn bind(
    address: &ListenAddress,
    flag: &'static str,
) -> Result<Vec<TcpListener>, ListenError> {
    match address {
        ListenAddress::Off => Ok(Vec::new()),
        ListenAddress::Localhost { port: 0 } => bind_localhost_anywhere(flag),
        ListenAddress::Localhost { port } => bind_localhost(*port, flag),
        ListenAddress::Address(address) => Ok(vec![listen(*address, flag)?]),
        ListenAddress::Name { host, port } => {
            let unresolved = |error| ListenError {
                flag,
                address: format!("{host}:{port}"),
                holder: None,
                error,
            };
            let found = tokio::net::lookup_host((host.as_str(), *port)).await;
            let mut addresses: Vec<SocketAddr> = found.map_err(unresolved)?.collect();
            addresses.sort_unstable();
            addresses.dedup();
            addresses.into_iter().map(|address| listen(address, flag)).collect()
        }
    }
}

fn bind_localhost(port: u16, flag: &'static str) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = vec![listen((Ipv4Addr::LOCALHOST, port).into(), flag)?];
    match listen((Ipv6Addr::LOCALHOST, port).into(), flag) {
        Ok(listener) => listeners.push(listener),
        Err(error) if is_without_ipv6(&error.error) => {}
        Err(error) => return Err(error),
    }
    Ok(listeners)
}

/// Looks for a port that is free on both addresses. The kernel picks it on 127.0.0.1; now and then
/// somebody has it on ::1.
fn bind_localhost_anywhere(flag: &'static str) -> Result<Vec<TcpListener>, ListenError> {
    let mut tries_left = PORT_TRIES_MAX;
    loop {
        let four = listen((Ipv4Addr::LOCALHOST, 0).into(), flag)?;
        let port = four.local_addr().map_err(|error| ListenError {
            flag,
            address: "localhost:0".to_owned(),
            holder: None,
            error,
        })?;
        tries_left -= 1;
        match listen((Ipv6Addr::LOCALHOST, port.port()).into(), flag) {
            Ok(six) => return Ok(vec![four, six]),
            Err(error) if is_without_ipv6(&error.error) || tries_left == 0 => {
                return Ok(vec![four]);
            }
            Err(_) => {}
        }
    }
}

/// Whether the machine has no ::1, or no IPv6 at all.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ListenError> {
    try_listen(address).map_err(|error| ListenError {
        flag,
        address: address.to_string(),
        holder: match error.kind() {
            io::ErrorKind::AddrInUse => process::holder_of(address),
            _ => None,
        },
        error,
    })
}

fn try_listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Else a restarted broker could not bind while connections of its former life still fade out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_off_localhost_an_address_or_a_name() {
        let address = |text: &str| ListenAddress::Address(text.parse().expect("an address"));
        for (text, expected) in [
            ("off", Some(ListenAddress::Off)),
            ("localhost:9092", Some(ListenAddress::Localhost { port: 9092 })),
            ("localhost:0", Some(ListenAddress::Localhost { port: 0 })),
            ("127.0.0.1:0", Some(address("127.0.0.1:0"))),
            ("0.0.0.0:9092", Some(address("0.0.0.0:9092"))),
            ("[::]:9092", Some(address("[::]:9092"))),
            ("broker:9092", Some(ListenAddress::Name { host: "broker".to_owned(), port: 9092 })),
            ("9092", None),
            (":9092", None),
            ("localhost", None),
            ("localhost:99999", None),
            ("::1:9092", None),
            ("http://localhost:9092", None),
            ("OFF ", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_taken_port_is_told_in_one_sentence() {
        let taken = |holder| ListenError {
            flag: "--kafka",
            address: "127.0.0.1:9092".to_owned(),
            holder,
            error: io::ErrorKind::AddrInUse.into(),
        };
        let pid = process::Pid::new(77);
        let known = taken(Some(Holder { pid, program: "java".to_owned() })).to_string();
        assert_eq!(
            known,
            "cannot listen on 127.0.0.1:9092 (--kafka) because java (process 77) does already; \
             stop it or choose another address with --kafka"
        );
        assert!(taken(None).to_string().contains("because another process does already"));
    }
}
