/// A secret as clients see it: its first letters, fewer where it is short (`meilisearch-types/src/settings.rs`,
/// `hide_secret`).
pub fn hide_secret(secret: &str) -> String {
    let (kept, mask) = match secret.len() {
        0..10 => (0, "XXX..."),
        10..20 => (2, "XXXX..."),
        20..30 => (3, "XXXXX..."),
        _ => (5, "XXXXXX..."),
    };
    let kept = secret
        .char_indices()
        .map(|(at, _)| at)
        .find(|at| *at >= kept)
        .unwrap_or(secret.len());
    format!("{}{mask}", &secret[..kept])
}
