//! The benchmark of mailsluice: what it costs beside its peers, and beside a splice that looks at nothing.

mod error;
mod peers;
mod process;

fn main() {
    for peer in peers::all() {
        println!("{}", peer.name());
    }
}
