//! Announcements: telling the neighbours that an address now lives behind this MAC.
//! It must not wait for an answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::error::Error;
use crate::mac::MacAddr;

/// Sends a gratuitous ARP request (RFC 5227, section 3) or an unsolicited neighbour advertisement (RFC 4861, section
/// 7.2.6) out of the link with that index in the network namespace of the calling thread.
pub fn announce(index: u32, mac: &MacAddr, address: IpAddr) -> Result<(), Error> {
    let Ok(mac) = <[u8; 6]>::try_from(mac.bytes()) else { return Ok(()) };
    match address {
        IpAddr::V4(v4) => send(index, libc::ETH_P_ARP, [0xff; 6], &arp_request(mac, v4)),
        IpAddr::V6(v6) => {
            send(index, libc::ETH_P_IPV6, [0x33, 0x33, 0, 0, 0, 1], &neighbour_advertisement(mac, v6))
        }
    }
    .map_err(Error::Socket)
}

fn send(index: u32, protocol: i32, destination: [u8; 6], payload: &[u8]) -> io::Result<()> {
    // Protocol 0: this socket only sends.
    let socket = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let truncated = |number: i32| u16::try_from(number).map_err(io::Error::other);
    let mut address = libc::sockaddr_ll {
        sll_family: truncated(libc::AF_PACKET)?,
        sll_protocol: truncated(protocol)?.to_be(),
        sll_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    address.sll_addr[..6].copy_from_slice(&destination);
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "nix 0.31 has no safe way to fill a sockaddr_ll")]
    // SAFETY: `payload` and `address` are live for the call and their lengths are their own; the kernel only reads them.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            payload.as_ptr().cast(),
            payload.len(),
            0,
            (&raw const address).cast(),
            length,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `struct arphdr` and its addresses: sender and target are both `address`.
fn arp_request(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
    packet.extend(mac);
    packet.extend(address.octets());
    packet.extend([0xff; 6]);
    packet.extend(address.octets());
    packet
}

/// An IPv6 packet to all nodes: Override flag set, with the target link-layer address option.
fn neighbour_advertisement(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(address.octets());
    message.extend([2, 1]);
    message.extend(mac);
    let checksum = icmpv6_checksum(address, all_nodes, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    // Version 6, payload 32 bytes, next header ICMPv6, hop limit 255.
    let mut packet = vec![0x60, 0, 0, 0, 0, 32, 58, 255];
    packet.extend(address.octets());
    packet.extend(all_nodes.octets());
    packet.extend(message);
    packet
}

/// RFC 4443, section 2.3: the ones' complement sum over pseudo-header and message.
fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let pseudo = [0, 0, 0, 32, 0, 0, 0, 58];
    let bytes =
        source.octets().into_iter().chain(destination.octets()).chain(pseudo).chain(message.iter().copied());
    let bytes: Vec<u8> = bytes.collect();
    let sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    #[test]
    fn arp_names_the_address_twice() {
        let packet = arp_request(MAC, Ipv4Addr::new(192, 0, 2, 5));
        assert_eq!(packet.len(), 28);
        assert_eq!((&packet[14..18], &packet[24..28]), (&[192, 0, 2, 5][..], &[192, 0, 2, 5][..]));
    }

    #[test]
    fn a_correct_checksum_sums_to_all_ones() {
        let address: Ipv6Addr = "2001:db8::5".parse().unwrap();
        let packet = neighbour_advertisement(MAC, address);
        assert_eq!(packet.len(), 72);
        let again = icmpv6_checksum(address, "ff02::1".parse().unwrap(), &packet[40..]);
        assert_eq!(again, 0);
    }
}
