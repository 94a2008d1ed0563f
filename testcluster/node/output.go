package main

import (
	"bytes"
	"context"
	"io"
	"sync"
)

// outputLog keeps everything that a process has written, for readers that come late and readers that wait for more.
type outputLog struct {
	mu    sync.Mutex
	data  []byte
	ended bool
	// Closed and replaced whenever there is more, or the end.
	changed chan struct{}
}

func newOutputLog() *outputLog {
	return &outputLog{changed: make(chan struct{})}
}

func (o *outputLog) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.data = append(o.data, data...)
	o.wake()
	return len(data), nil
}

func (o *outputLog) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.wake()
}

func (o *outputLog) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// copyTo writes the last tail lines (all if tail is negative) and, with follow, what comes after, until the process or
// ctx ends.
func (o *outputLog) copyTo(ctx context.Context, w io.Writer, tail int, follow bool) {
	o.mu.Lock()
	position := start(o.data, tail)
	o.mu.Unlock()
	for {
		o.mu.Lock()
		fresh, ended, changed := o.data[position:], o.ended, o.changed
		o.mu.Unlock()
		if len(fresh) > 0 {
			if _, err := w.Write(fresh); err != nil {
				return
			}
			position += len(fresh)
			continue
		}
		if ended || !follow {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// start is where the last tail lines begin.
func start(data []byte, tail int) int {
	if tail < 0 {
		return 0
	}
	position := len(data)
	if bytes.HasSuffix(data, []byte("\n")) && tail > 0 {
		position--
	}
	for range tail {
		newline := bytes.LastIndexByte(data[:position], '\n')
		if newline < 0 {
			return 0
		}
		position = newline
	}
	if tail == 0 {
		return len(data)
	}
	return position + 1
}
