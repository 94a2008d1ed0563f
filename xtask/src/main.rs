//! What developers run: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench`, and `cargo xtask setup`, which
//! the others call for what they need.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people, at a terminal")]

mod bench;
mod demo;
mod house;
mod run;
mod setup;
mod test;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, shows, tests and measures Keyway")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Shows the whole way of a request on a throw-away cluster, or on yours; stays up until Ctrl-C
    Demo(demo::Options),
    /// Runs every test, installing or naming what it lacks
    Test(test::Options),
    /// Measures the proxy next to nginx and HAProxy, installing or naming what it lacks
    Bench(bench::Options),
    /// Builds the test cluster's programs into target/testcluster/bin, once
    Setup,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Setup => setup::run().map(|_dir| ()),
    }
}
