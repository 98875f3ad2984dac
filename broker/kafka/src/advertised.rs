//! Which address a client is told to connect to.
//!
//! A Kafka client uses the address that it was configured with only to ask for Metadata, and from
//! then on the one that it finds there. A wrong answer is the first cause of trouble with brokers
//! in containers, so by default the answer depends on who asks:
//!
//! | peer | is told |
//! |---|---|
//! | in a `--kafka-advertised PEER-CIDR=HOST:PORT` network | that address; longest prefix wins |
//! | any other, with `--kafka-advertised HOST:PORT` given | that address |
//! | loopback | `localhost` and the port that it reached |
//! | the default gateway: a container's host, forwarding a port | the same |
//! | any other | the local address of its connection |
//!
//! A port that is mapped to another number cannot be seen from inside and needs the flag.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// One `--kafka-advertised` value: `HOST:PORT` for every peer or `PEER-CIDR=HOST:PORT` for some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertisedRule {
    /// The peers that it holds for; none: all that no other rule names.
    pub peers: Option<Network>,
    /// What they are told.
    pub address: HostPort,
}

/// A range of addresses, such as `10.0.0.0/8`; a plain address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// A text that is not `[PEER-CIDR=]HOST:PORT`, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidAdvertised(&'static str);

impl fmt::Display for InvalidAdvertised {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, expected [PEER-CIDR=]HOST:PORT", self.0)
    }
}

impl std::error::Error for InvalidAdvertised {}

/// Decides for each connection which address its peer is told.
#[derive(Clone, Debug, Default)]
pub struct Advertised {
    /// Rules in the order in which they were given.
    pub rules: Vec<AdvertisedRule>,
    /// Addresses of this machine's default gateways; see [`default_gateways`].
    pub gateways: Vec<IpAddr>,
}

impl Advertised {
    /// The address that `peer`, connected to our address `local`, is told.
    pub fn address_for(&self, peer: SocketAddr, local: SocketAddr) -> HostPort {
        let (peer_ip, local_ip) = (peer.ip().to_canonical(), local.ip().to_canonical());
        if let Some(rule) = self.rule_for(peer_ip) {
            return rule.address.clone();
        }
        // Not all of 127.0.0.0/8: `localhost` does not lead to a listener on 127.0.0.2.
        let is_localhost = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let host = if is_localhost.contains(&local_ip) || self.gateways.contains(&peer_ip) {
            "localhost".to_owned()
        } else {
            local_ip.to_string()
        };
        HostPort { host, port: local.port() }
    }

    fn rule_for(&self, peer: IpAddr) -> Option<&AdvertisedRule> {
        let specificity = |rule: &AdvertisedRule| match rule.peers {
            None => Some(0),
            Some(network) => network.contains(peer).then_some(u16::from(network.prefix_bits) + 1),
        };
        let mut best: Option<(u16, &AdvertisedRule)> = None;
        for rule in &self.rules {
            if let Some(bits) = specificity(rule)
                && best.is_none_or(|(best_bits, _)| bits > best_bits)
            {
                best = Some((bits, rule));
            }
        }
        best.map(|(_, rule)| rule)
    }
}

impl Network {
    /// Whether the address lies in the range. IPv4 in IPv6 form counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shared_bits = match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros()
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        shared_bits >= u32::from(self.prefix_bits)
    }
}

impl FromStr for Network {
    type Err = InvalidAdvertised;

    fn from_str(text: &str) -> Result<Network, InvalidAdvertised> {
        let (address, prefix_bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| InvalidAdvertised("the peer is not an address"))?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix_bits {
            None => bits_max,
            Some(bits) => bits.parse().map_err(|_| InvalidAdvertised("the prefix is no number"))?,
        };
        if prefix_bits > bits_max {
            return Err(InvalidAdvertised("the prefix is longer than the address"));
        }
        Ok(Network { address, prefix_bits })
    }
}

impl FromStr for HostPort {
    type Err = InvalidAdvertised;

    fn from_str(text: &str) -> Result<HostPort, InvalidAdvertised> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAdvertised("no port"))?;
        let port = port.parse().map_err(|_| InvalidAdvertised("the port is not 1 to 65535"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(host) => {
                host.parse::<Ipv6Addr>()
                    .map_err(|_| InvalidAdvertised("no IPv6 address in the brackets"))?;
                host
            }
            None if host.contains(':') => {
                return Err(InvalidAdvertised("an IPv6 address needs brackets"));
            }
            None => host,
        };
        if host.is_empty() || host.len() > 255 || host.contains(char::is_whitespace) {
            return Err(InvalidAdvertised("the host is not 1 to 255 characters"));
        }
        if port == 0 {
            return Err(InvalidAdvertised("the port is not 1 to 65535"));
        }
        Ok(HostPort { host: host.to_owned(), port })
    }
}

impl FromStr for AdvertisedRule {
    type Err = InvalidAdvertised;

    fn from_str(text: &str) -> Result<AdvertisedRule, InvalidAdvertised> {
        let (peers, address) = match text.split_once('=') {
            Some((peers, address)) => (Some(peers.parse()?), address),
            None => (None, text),
        };
        Ok(AdvertisedRule { peers, address: address.parse()? })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

/// The default gateways of this machine, by Linux's routing tables; none on other systems.
pub fn default_gateways() -> Vec<IpAddr> {
    let table = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut gateways = ipv4_gateways(&table("/proc/net/route"));
    gateways.extend(ipv6_gateways(&table("/proc/net/ipv6_route")));
    gateways
}

/// `/proc/net/route`: a heading, then `interface destination gateway …`, addresses in hexadecimal
/// with the bytes in the machine's order.
fn ipv4_gateways(table: &str) -> Vec<IpAddr> {
    let mut gateways = Vec::new();
    for line in table.lines().skip(1) {
        let mut fields = line.split_whitespace().skip(1);
        let (Some("00000000"), Some(gateway)) = (fields.next(), fields.next()) else {
            continue;
        };
        let Ok(address) = u32::from_str_radix(gateway, 16) else {
            continue;
        };
        if address != 0 {
            gateways.push(IpAddr::V4(Ipv4Addr::from(address.to_ne_bytes())));
        }
    }
    gateways
}

/// `/proc/net/ipv6_route`: `destination prefix source prefix next-hop …`, in hexadecimal.
fn ipv6_gateways(table: &str) -> Vec<IpAddr> {
    let mut gateways = Vec::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_destination, "00", _source, _source_prefix, next_hop, ..] = fields.as_slice() else {
            continue;
        };
        match u128::from_str_radix(next_hop, 16) {
            Ok(address) if address != 0 => gateways.push(IpAddr::V6(Ipv6Addr::from_bits(address))),
            _ => {}
        }
    }
    gateways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &[&str], gateways: &[&str], cases: &[(&str, &str, &str)]) {
        let advertised = Advertised {
            rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
            gateways: gateways.iter().map(|gateway| gateway.parse().unwrap()).collect(),
        };
        for (peer, local, told) in cases {
            let address = advertised.address_for(peer.parse().unwrap(), local.parse().unwrap());
            assert_eq!(address.to_string(), *told, "{peer} reached {local}");
        }
    }

    #[test]
    fn without_rules_a_peer_is_told_what_it_can_reach() {
        check(
            &[],
            &["172.17.0.1"],
            &[
                ("127.0.0.1:4001", "127.0.0.1:9092", "localhost:9092"),
                ("[::1]:4001", "[::1]:9093", "localhost:9093"),
                ("[::ffff:127.0.0.1]:4001", "[::ffff:127.0.0.1]:9092", "localhost:9092"),
                ("127.0.0.1:4001", "127.0.0.2:9092", "127.0.0.2:9092"),
                ("172.17.0.1:4001", "172.17.0.2:9092", "localhost:9092"),
                ("172.17.0.3:4001", "172.17.0.2:9092", "172.17.0.2:9092"),
                ("[fd00::7]:4001", "[fd00::1]:9092", "[fd00::1]:9092"),
            ],
        );
    }

    #[test]
    fn a_rule_for_the_peers_network_beats_the_rule_for_all() {
        check(
            &["broker.example:19092", "10.0.0.0/8=inner:9092", "10.1.0.0/16=near:9092"],
            &[],
            &[
                ("127.0.0.1:4001", "127.0.0.1:9092", "broker.example:19092"),
                ("10.2.3.4:4001", "10.0.0.1:9092", "inner:9092"),
                ("[::ffff:10.2.3.4]:4001", "10.0.0.1:9092", "inner:9092"),
                ("10.1.3.4:4001", "10.0.0.1:9092", "near:9092"),
            ],
        );
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused() {
        for text in [
            "",
            "localhost",
            ":9092",
            "localhost:",
            "localhost:0",
            "localhost:70000",
            "::1:9092",
            "[nonsense]:9092",
            "10.0.0.0/33=a:1",
            "10.0.0.0/x=a:1",
            "net=a:1",
            "a b:1",
        ] {
            assert!(text.parse::<AdvertisedRule>().is_err(), "{text}");
        }
        let rule: AdvertisedRule = "fd00::/8=[fd00::1]:9092".parse().unwrap();
        assert_eq!(rule.address.host, "fd00::1");
    }

    #[test]
    fn gateways_are_read_from_the_routing_tables() {
        let gateway = u32::from_ne_bytes([172, 17, 0, 1]);
        let table = format!(
            "Iface Destination Gateway Flags\neth0 00000000 {gateway:08X} 0003\n\
             eth0 0011AC00 00000000 0001\n"
        );
        assert_eq!(ipv4_gateways(&table), ["172.17.0.1".parse::<IpAddr>().unwrap()]);
        let zero = "0".repeat(32);
        let table = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 0 0 0 eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 0 0 0 lo\n"
        );
        assert_eq!(ipv6_gateways(&table), ["fe80::1".parse::<IpAddr>().unwrap()]);
    }
}
