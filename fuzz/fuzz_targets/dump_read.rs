//! Dumps from strangers: whatever stands in the archive, reading ends in an answer or an error, within its limits.
#![no_main]

use std::io::Write;

use flate2::write::GzEncoder;
use flate2::Compression;
use libfuzzer_sys::fuzz_target;
use miroir_dump::{Dump, Limits, ReadError};

const LIMITS: Limits = Limits {
    archive_bytes_max: 1 << 20,
    line_bytes_max: 4096,
    kept_bytes_max: 1 << 16,
    members_max: 64,
};

fuzz_target!(|data: &[u8]| {
    // As it is: the gzip reader. Packed by us: the archive, past a checksum that no mutation would meet.
    read(data);
    let mut packed = GzEncoder::new(Vec::new(), Compression::none());
    if packed.write_all(data).is_ok() {
        if let Ok(packed) = packed.finish() {
            read(&packed);
        }
    }
});

fn read(dump: &[u8]) {
    let Ok(found) = Dump::survey(dump, &LIMITS) else {
        return;
    };
    let mut documents = 0;
    let read = found.documents(dump, &LIMITS, |index, line| {
        assert!(index < found.indexes.len());
        assert!(line.len() <= LIMITS.line_bytes_max && line.first() == Some(&b'{'));
        documents += 1;
        Ok::<(), ReadError>(())
    });
    assert!(read.is_ok(), "a dump that was checked cannot be read again");
    assert_eq!(documents, found.documents_total());
    let _ = found.payloads(dump, &LIMITS, |_, _| Ok::<(), ReadError>(()));
}
