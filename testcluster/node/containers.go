package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

type containerName struct{ namespace, pod, container string }

// containers are the main processes of pods, each started when somebody first asks for it.
type containers struct {
	rootDir string
	lookup  podLookup
	mu      sync.Mutex
	running map[containerName]*mainProcess
}

// mainProcess is what a pod's container runs.
type mainProcess struct {
	command *exec.Cmd
	stdin   io.WriteCloser
	output  *outputLog
}

func newContainers(rootDir string, lookup podLookup) *containers {
	return &containers{rootDir: rootDir, lookup: lookup, running: map[containerName]*mainProcess{}}
}

// echo is what a container without a command runs: it answers what is attached to it.
var echo = []string{"sh", "-c", `echo ready; while read -r line; do echo "got $line"; done; echo bye`}

// main gives the container's main process.
func (c *containers) main(name containerName) (*mainProcess, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if process, ok := c.running[name]; ok {
		return process, nil
	}
	argv, err := c.lookup.command(name)
	if err != nil {
		return nil, err
	}
	if len(argv) == 0 {
		argv = echo
	}
	command, err := c.command(context.Background(), name, argv)
	if err != nil {
		return nil, err
	}
	process := &mainProcess{command: command, output: newOutputLog()}
	if process.stdin, err = command.StdinPipe(); err != nil {
		return nil, err
	}
	command.Stdout, command.Stderr = process.output, process.output
	if err := command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = command.Wait()
		process.output.end()
	}()
	c.running[name] = process
	return process, nil
}

// command is argv in the pod's directory and in a process group of its own.
func (c *containers) command(ctx context.Context, name containerName, argv []string) (*exec.Cmd, error) {
	if len(argv) == 0 {
		return nil, errors.New("no command")
	}
	dir := filepath.Join(c.rootDir, name.namespace, name.pod)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Dir = dir
	command.Env = append(os.Environ(), "HOME="+dir, "HOSTNAME="+name.pod)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	return command, nil
}

func (c *containers) killAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, process := range c.running {
		_ = syscall.Kill(-process.command.Process.Pid, syscall.SIGKILL)
	}
}

type executor struct {
	containers *containers
	name       containerName
}

// ExecInContainer runs one command. Its standard input ends when the client half-closes; its exit code is the error.
func (e executor) ExecInContainer(ctx context.Context, _ string, _ string, _ string, argv []string, in io.Reader,
	out, errOut io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	command, err := e.containers.command(ctx, e.name, argv)
	if err != nil {
		return err
	}
	if tty {
		return exitError(runWithTerminal(command, in, out, resize))
	}
	if out != nil {
		command.Stdout = out
	}
	if errOut != nil {
		command.Stderr = errOut
	}
	if in != nil {
		// Not command.Stdin: Wait would wait for the client to close its input even after the command has ended.
		stdin, err := command.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(stdin, in)
			_ = stdin.Close()
		}()
	}
	return exitError(command.Run())
}

func runWithTerminal(command *exec.Cmd, in io.Reader, out io.Writer, resize <-chan remotecommand.TerminalSize) error {
	// A terminal makes a session of its own, which is a process group too.
	command.SysProcAttr = nil
	terminal, err := pty.Start(command)
	if err != nil {
		return err
	}
	defer terminal.Close()
	go func() {
		for size := range resize {
			_ = pty.Setsize(terminal, &pty.Winsize{Rows: size.Height, Cols: size.Width})
		}
	}()
	if in != nil {
		go func() { _, _ = io.Copy(terminal, in) }()
	}
	if out != nil {
		// Ends with EIO when the command has closed its side.
		_, _ = io.Copy(out, terminal)
	}
	return command.Wait()
}

// exitError is what the streaming library turns into an exit code for the client.
func exitError(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return utilexec.CodeExitError{Err: err, Code: exit.ExitCode()}
	}
	return err
}

type attacher struct {
	containers *containers
	name       containerName
}

// AttachContainer joins the client to the main process: its output from now on, and its input.
func (a attacher) AttachContainer(ctx context.Context, _ string, _ string, _ string, in io.Reader,
	out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	process, err := a.containers.main(a.name)
	if err != nil {
		return err
	}
	if in != nil {
		go func() {
			_, _ = io.Copy(process.stdin, in)
			_ = process.stdin.Close()
		}()
	}
	if out != nil {
		process.output.copyTo(ctx, out, 0, true)
	}
	return nil
}

// podLookup asks kube-apiserver what a container runs.
type podLookup struct {
	url    string
	client *http.Client
}

func (l podLookup) command(name containerName) ([]string, error) {
	response, err := l.client.Get(fmt.Sprintf("%s/api/v1/namespaces/%s/pods/%s", l.url, name.namespace, name.pod))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("pod %s/%s: kube-apiserver says %s", name.namespace, name.pod, response.Status)
	}
	var pod struct {
		Spec struct {
			Containers []struct {
				Name          string
				Command, Args []string
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&pod); err != nil {
		return nil, err
	}
	for _, container := range pod.Spec.Containers {
		if container.Name == name.container {
			return append(container.Command, container.Args...), nil
		}
	}
	return nil, fmt.Errorf("pod %s/%s has no container %s", name.namespace, name.pod, name.container)
}
