package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

const (
	// As the kubelet has them.
	idleTimeout     = 4 * time.Hour
	creationTimeout = 30 * time.Second
)

// newHandler routes the kubelet's paths.
func newHandler(containers *containers) http.Handler {
	mux := http.NewServeMux()
	for _, method := range []string{"GET", "POST"} {
		mux.HandleFunc(method+" /exec/{namespace}/{pod}/{container}", containers.serveExec)
		mux.HandleFunc(method+" /attach/{namespace}/{pod}/{container}", containers.serveAttach)
		mux.HandleFunc(method+" /portForward/{namespace}/{pod}", servePortForward)
	}
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", containers.serveLogs)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

func containerOf(r *http.Request) containerName {
	return containerName{namespace: r.PathValue("namespace"), pod: r.PathValue("pod"), container: r.PathValue("container")}
}

func (c *containers) serveExec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := containerOf(r)
	command := r.Form["command"]
	remotecommand.ServeExec(w, r, executor{c, name}, name.pod, "", name.container, command, options, idleTimeout,
		creationTimeout, remotecommand.SupportedStreamingProtocols)
}

func (c *containers) serveAttach(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := containerOf(r)
	remotecommand.ServeAttach(w, r, attacher{c, name}, name.pod, "", name.container, options, idleTimeout,
		creationTimeout, remotecommand.SupportedStreamingProtocols)
}

func servePortForward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, forwarder{}, r.PathValue("pod"), "", options, idleTimeout, creationTimeout,
		portforward.SupportedProtocols)
}

// serveLogs understands follow and tailLines, which is what kubectl logs needs.
func (c *containers) serveLogs(w http.ResponseWriter, r *http.Request) {
	process, err := c.main(containerOf(r))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	tail := -1
	if text := r.URL.Query().Get("tailLines"); text != "" {
		if tail, err = strconv.Atoi(text); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	follow, _ := strconv.ParseBool(r.URL.Query().Get("follow"))
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	process.output.copyTo(r.Context(), flushing{w, http.NewResponseController(w)}, tail, follow)
}

// flushing sends every line as it comes.
type flushing struct {
	io.Writer
	controller *http.ResponseController
}

func (f flushing) Write(data []byte) (int, error) {
	n, err := f.Writer.Write(data)
	if err == nil {
		err = f.controller.Flush()
	}
	return n, err
}

// forwarder connects to the machine's own loopback: a pod's port is a port of the machine.
type forwarder struct{}

func (forwarder) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer conn.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stream)
		// The client has said all; the other direction goes on.
		_ = conn.(*net.TCPConn).CloseWrite()
		sent <- err
	}()
	if _, err := io.Copy(stream, conn); err != nil {
		return err
	}
	_ = stream.Close()
	return <-sent
}
