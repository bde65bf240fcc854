fn main() {
    let version = semver::Version::new(1, 2, 3);
    let text = version.to_string();
    let parts: smallvec::SmallVec<[&str; 3]> = text.split('.').collect();
    println!("{} {:?} {:?}", version, parts, memchr::memchr(b'.', text.as_bytes()));
}
