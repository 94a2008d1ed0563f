// keyway-testnode answers kube-apiserver in the kubelet's place: exec, attach, logs and port-forward, on the
// streaming library that the kubelet itself uses, so SPDY and WebSocket, exit codes and half-close are the real ones.
// What runs "in a container" are local commands, each pod in a directory of its own. The life cycle of nodes and pods
// is kwok's.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:10250", "address to serve the kubelet's endpoints on")
	rootDir := flag.String("root-dir", "", "directory in which each pod gets its own")
	certFile := flag.String("tls-cert-file", "", "serving certificate (PEM)")
	keyFile := flag.String("tls-key-file", "", "its key (PEM)")
	clientCA := flag.String("client-ca-file", "", "CA of the clients that are let in: kube-apiserver (PEM)")
	apiserver := flag.String("apiserver", "", "URL of kube-apiserver, to look up what a pod's container runs")
	apiCert := flag.String("apiserver-cert-file", "", "client certificate for kube-apiserver (PEM)")
	apiKey := flag.String("apiserver-key-file", "", "its key (PEM)")
	flag.Parse()
	if err := run(*listen, *rootDir, *certFile, *keyFile, *clientCA, *apiserver, *apiCert, *apiKey); err != nil {
		log.Fatal(err)
	}
}

func run(listen, rootDir, certFile, keyFile, clientCA, apiserver, apiCert, apiKey string) error {
	pool, err := readCA(clientCA)
	if err != nil {
		return err
	}
	identity, err := tls.LoadX509KeyPair(apiCert, apiKey)
	if err != nil {
		return err
	}
	lookup := podLookup{
		url: apiserver,
		client: &http.Client{
			Timeout: 10 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{
				RootCAs:      pool,
				Certificates: []tls.Certificate{identity},
			}},
		},
	}
	containers := newContainers(rootDir, lookup)
	defer containers.killAll()

	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	server := &http.Server{
		Handler: newHandler(containers),
		// Only kube-apiserver may run commands here.
		TLSConfig: &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool},
		// The kubelet's streaming server speaks HTTP/1.1: SPDY and WebSocket take the connection over.
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ReadHeaderTimeout: 10 * time.Second,
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ServeTLS(listener, certFile, keyFile); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func readCA(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}
