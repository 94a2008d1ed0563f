use super::{Header, HeaderError, SIGNATURE, read};

fn header(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([version_command, family]);
    bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend(rest);
    bytes
}

async fn parsed(bytes: &[u8]) -> Result<Header, HeaderError> {
    read(&mut &bytes[..]).await
}

#[tokio::test]
async fn refuses_what_is_not_a_v2_header() {
    assert!(matches!(parsed(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n").await, Err(HeaderError::NoSignature)));
    assert!(matches!(parsed(&[0x16; 16]).await, Err(HeaderError::NoSignature)));
    assert!(matches!(parsed(&header(0x11, 0x11, &[0; 12])).await, Err(HeaderError::Version(1))));
    assert!(matches!(parsed(&header(0x22, 0x11, &[0; 12])).await, Err(HeaderError::Command(2))));
    assert!(matches!(parsed(&header(0x21, 0x11, &[0; 11])).await, Err(HeaderError::Truncated)));
    assert!(matches!(parsed(&header(0x21, 0x21, &[0; 35])).await, Err(HeaderError::Truncated)));
    assert!(matches!(parsed(&header(0x21, 0x11, &[0; 5000])).await, Err(HeaderError::TooLong(5000))));
    assert!(matches!(parsed(&header(0x21, 0x11, &[0; 12])[..20]).await, Err(HeaderError::Io(_))));
}

#[tokio::test]
async fn reads_the_source_and_leaves_the_rest_of_the_stream() {
    let mut v4 = header(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x1f, 0x90, 0xee, 0, 1, 9]);
    v4.extend(b"rest");
    let mut stream = &v4[..];
    assert_eq!(read(&mut stream).await.unwrap(), Header::Proxied("192.0.2.7:4660".parse().unwrap()));
    assert_eq!(stream, b"rest");

    let mut addresses = Vec::new();
    addresses.extend("2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    addresses.extend([0; 16]);
    addresses.extend([0, 80, 1, 187]);
    assert_eq!(
        parsed(&header(0x21, 0x21, &addresses)).await.unwrap(),
        Header::Proxied("[2001:db8::7]:80".parse().unwrap())
    );
}

#[tokio::test]
async fn a_health_check_of_the_balancer_keeps_its_own_address() {
    assert_eq!(parsed(&header(0x20, 0, &[])).await.unwrap(), Header::Local);
    assert_eq!(parsed(&header(0x21, 0, &[])).await.unwrap(), Header::Local);
}
