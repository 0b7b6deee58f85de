//! Compressed bodies, right and wrong, made by hand: stored blocks, and one repeated byte.

/// A complete gzip file with these bytes, uncompressed.
pub(super) fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut out = HEAD.to_vec();
    let mut pieces = bytes.chunks(0xffff).peekable();
    while let Some(chunk) = pieces.next() {
        out.push(u8::from(pieces.peek().is_none()));
        let length = u16::try_from(chunk.len()).expect("a chunk is at most a block");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(chunk);
    }
    out.extend_from_slice(&crc(bytes).to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out
}

/// The beginning of a gzip file of this many million spaces, 150 times smaller; its end is missing.
pub(super) fn bomb(million: usize) -> Vec<u8> {
    let mut bits = Bits(HEAD.to_vec(), 0);
    // The last block, with the fixed codes: a space, then repeated copies of 258 bytes.
    bits.put(0b1, 1);
    bits.put(0b01, 2);
    bits.put(code(0x30 + u32::from(b' '), 8), 8);
    for _ in 0..million * 1_000_000 / 258 {
        bits.put(code(0b1100_0101, 8), 8);
        bits.put(0, 5);
    }
    bits.0
}

const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

/// Bytes, and how many bits of the last one are used.
struct Bits(Vec<u8>, u32);

impl Bits {
    fn put(&mut self, bits: u32, count: u32) {
        for at in 0..count {
            if self.1 == 0 {
                self.0.push(0);
            }
            let last = self.0.last_mut().expect("one was pushed");
            *last |= u8::from(bits >> at & 1 == 1) << self.1;
            self.1 = (self.1 + 1) % 8;
        }
    }
}

/// Codes are written with their highest bit first.
fn code(code: u32, length: u32) -> u32 {
    code.reverse_bits() >> (32 - length)
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_equals_the_standard_one() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    }
}
