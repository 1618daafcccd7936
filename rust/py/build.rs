//! Tells the extension with which profile it was built.
fn main() {
    let profile = std::env::var("PROFILE").unwrap_or_default();
    println!("cargo::rustc-env=BUILD_PROFILE={profile}");
}
