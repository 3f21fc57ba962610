//! Which addresses may be spoken to: public ones, and the networks that the operator allows.
//!
//! Whoever may make webhooks could otherwise have the instance speak to machines that only it can reach.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// A network in CIDR notation, or `any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(Option<(IpAddr, u32)>);

/// The networks that are allowed besides the public internet.
#[derive(Clone, Debug, Default)]
pub struct Networks(pub Vec<Network>);

/// IANA's special-purpose registries (RFC 6890 and its additions): what is not globally reachable.
const NOT_PUBLIC: [&str; 25] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

impl Networks {
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = embedded(address);
        let within = |network: &Network| network.contains(address);
        let public = || {
            let mut special = NOT_PUBLIC.iter().filter_map(|text| text.parse().ok());
            !special.any(|network: Network| network.contains(address))
        };
        self.0.iter().any(within) || public()
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let Some((network, prefix)) = self.0 else {
            return true;
        };
        let differing = match (network, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= prefix
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "any" {
            return Ok(Network(None));
        }
        let wrong = || format!("`{text}` is not a network such as `10.0.0.0/8`, nor `any`");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| wrong())?,
            None => bits,
        };
        match prefix <= bits {
            true => Ok(Network(Some((address, prefix)))),
            false => Err(wrong()),
        }
    }
}

/// The IPv4 address that an IPv6 one stands for (RFC 4291, 2.5.5.2; RFC 6052, 2.1).
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let nat64 = || {
        let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = v6.segments() else {
            return None;
        };
        Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    v6.to_ipv4_mapped()
        .or_else(nat64)
        .map_or(address, IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_network_can_be_read() {
        for text in NOT_PUBLIC {
            assert!(text.parse::<Network>().is_ok(), "{text}");
        }
    }

    #[test]
    fn only_public_addresses_and_allowed_networks() {
        let allows = |allowed: &[&str], address: &str| {
            let allowed = allowed.iter().map(|text| text.parse().unwrap());
            Networks(allowed.collect()).allows(address.parse().unwrap())
        };
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "192.0.1.9",
            "2606:4700::1",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(allows(&[], public), "{public}");
        }
        for local in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.9.9",
            "192.168.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "255.255.255.255",
            "100.64.0.1",
        ] {
            assert!(!allows(&[], local), "{local}");
            assert!(allows(&["any"], local), "{local}");
        }
        assert!(allows(&["127.0.0.0/8"], "::ffff:127.0.0.1"));
        assert!(allows(&["10.0.0.1"], "10.0.0.1") && !allows(&["10.0.0.1"], "10.0.0.2"));
        assert!(allows(&["::/0"], "::1") && !allows(&["::/0"], "10.0.0.2"));
        for bad in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "all"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
