"""What a sandbox could put on its link if it had the right to: frames and packets of any content.

    arp DEVICE ADDRESS          claims the address for this device, as an answer and unasked
    advertise DEVICE            neighbour and router advertisements of IPv6 to all nodes
    send SOURCE TARGET TEXT     a datagram to port 8080 under any source address
    sniff DEVICE MARKER         prints the frames that come, as `source ethertype destination`, until one has the marker
"""

import socket
import struct
import sys

ETH_P_ALL = 3
BROADCAST = b"\xff" * 6


def link(device):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.bind((device, ETH_P_ALL))
    return sock, sock.getsockname()[4]


def arp(device, address):
    sock, mac = link(device)
    claimed = socket.inet_aton(address)
    for operation, target in ((1, claimed), (2, claimed), (2, b"\xff" * 4)):
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + claimed + BROADCAST + target
        sock.send(BROADCAST + mac + b"\x08\x06" + body)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def advertise(device):
    sock, mac = link(device)
    source = socket.inet_pton(socket.AF_INET6, "fe80::bad")
    target = socket.inet_pton(socket.AF_INET6, "ff02::1")
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 600, 600, 0) + socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")
    option = b"\x02\x01" + mac
    router = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix + b"\x01\x01" + mac
    neighbour = struct.pack("!BBHI", 136, 0, 0, 0xE0000000) + source + option
    for message in (router, neighbour):
        pseudo = source + target + struct.pack("!II", len(message), 58)
        message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
        header = struct.pack("!IHBB", 0x60000000, len(message), 58, 255) + source + target
        sock.send(b"\x33\x33\0\0\0\x01" + mac + b"\x86\xdd" + header + message)


def send(source, target, text):
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    payload = text.encode()
    datagram = struct.pack("!HHHH", 4444, 8080, 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 7, 0, 64, 17, 0)
    sock.sendto(header + socket.inet_aton(source) + socket.inet_aton(target) + datagram, (target, 0))


def sniff(device, marker):
    sock, _ = link(device)
    print("ready", flush=True)
    while True:
        frame = sock.recv(65535)
        kind = struct.unpack("!H", frame[12:14])[0]
        target = socket.inet_ntoa(frame[30:34]) if kind == 0x0800 else ""
        print(f"{frame[6:12].hex(':')} {kind:04x} {target}".strip(), flush=True)
        if marker.encode() in frame:
            return


{"arp": arp, "advertise": advertise, "send": send, "sniff": sniff}[sys.argv[1]](*sys.argv[2:])
