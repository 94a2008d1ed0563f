//! No proof can be forged: each of these programs tries, and the compiler says why it may not. The reasons are in the
//! `.stderr` beside them; after a new compiler words them anew, `TRYBUILD=overwrite cargo test -p impersonation --test
//! compile_fail` writes them, and a reviewer reads whether they still are the reasons.

#[test]
fn no_proof_can_be_forged() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
