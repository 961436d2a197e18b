//! A signer of minisign's format (<https://jedisct1.github.io/minisign/#signature-format>), for tests of those who verify.

use data_encoding::BASE64;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// A key pair whose seed and id are this byte over and over.
pub struct Signer {
    pair: Ed25519KeyPair,
    id: [u8; 8],
}

impl Signer {
    /// Different bytes are different people.
    pub fn new(seed: u8) -> Self {
        Self {
            pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes are a seed"),
            id: [seed; 8],
        }
    }

    /// As in the second line of `minisign.pub`.
    pub fn public_key(&self) -> String {
        BASE64.encode(&[&b"Ed"[..], &self.id, self.pair.public_key().as_ref()].concat())
    }

    /// The content of a `.minisig` file: the signature of the bytes' BLAKE2b-512.
    pub fn sign(&self, bytes: &[u8]) -> String {
        self.signed(b"ED", &blake2b_512(bytes))
    }

    /// Of the old form: the signature of the bytes themselves.
    pub fn sign_legacy(&self, bytes: &[u8]) -> String {
        self.signed(b"Ed", bytes)
    }

    fn signed(&self, algorithm: &[u8; 2], message: &[u8]) -> String {
        let signature = self.pair.sign(message);
        let comment = "made for a test";
        let global = self.pair.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        format!(
            "untrusted comment: a test\n{}\ntrusted comment: {comment}\n{}\n",
            BASE64.encode(&[&algorithm[..], &self.id, signature.as_ref()].concat()),
            BASE64.encode(global.as_ref())
        )
    }
}

const IV: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

const SIGMA: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/// RFC 7693, without a key.
fn blake2b_512(bytes: &[u8]) -> Vec<u8> {
    let mut state = IV;
    state[0] ^= 0x0101_0000 ^ 64;
    let blocks: Vec<&[u8]> = if bytes.is_empty() {
        vec![&[]]
    } else {
        bytes.chunks(128).collect()
    };
    let mut hashed = 0_u64;
    for (at, block) in blocks.iter().enumerate() {
        hashed += block.len() as u64;
        let mut padded = [0; 128];
        padded[..block.len()].copy_from_slice(block);
        compress(&mut state, &padded, hashed, at + 1 == blocks.len());
    }
    state.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn compress(state: &mut [u64; 8], block: &[u8; 128], hashed: u64, is_last: bool) {
    let mut words = [0_u64; 16];
    for (word, bytes) in words.iter_mut().zip(block.chunks(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
    let mut v = [0_u64; 16];
    v[..8].copy_from_slice(state);
    v[8..].copy_from_slice(&IV);
    v[12] ^= hashed;
    if is_last {
        v[14] = !v[14];
    }
    for round in 0..12 {
        let order = SIGMA[round % 10];
        let lanes = [
            [0, 4, 8, 12],
            [1, 5, 9, 13],
            [2, 6, 10, 14],
            [3, 7, 11, 15],
            [0, 5, 10, 15],
            [1, 6, 11, 12],
            [2, 7, 8, 13],
            [3, 4, 9, 14],
        ];
        for (at, [a, b, c, d]) in lanes.into_iter().enumerate() {
            let (x, y) = (words[order[2 * at]], words[order[2 * at + 1]]);
            v[a] = v[a].wrapping_add(v[b]).wrapping_add(x);
            v[d] = (v[d] ^ v[a]).rotate_right(32);
            v[c] = v[c].wrapping_add(v[d]);
            v[b] = (v[b] ^ v[c]).rotate_right(24);
            v[a] = v[a].wrapping_add(v[b]).wrapping_add(y);
            v[d] = (v[d] ^ v[a]).rotate_right(16);
            v[c] = v[c].wrapping_add(v[d]);
            v[b] = (v[b] ^ v[c]).rotate_right(63);
        }
    }
    for at in 0..8 {
        state[at] ^= v[at] ^ v[at + 8];
    }
}
