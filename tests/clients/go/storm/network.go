package main

import (
	"context"
	"errors"
	"net"
	"sync"
)

var errUnplugged = errors.New("the member is dead")

// Network is all that one member sees of the world. Held, it is what a long garbage collection or a
// stopped virtual machine is to the broker: nothing comes and nothing goes, and what was about to
// be sent is sent later, when others may own the member's partitions. Unplugged, it is a dead
// machine: its connections break, and no LeaveGroup gets out.
type Network struct {
	mu          sync.Mutex
	passable    chan struct{} // closed while bytes may pass
	unplugged   chan struct{} // closed when nothing will ever pass again
	connections map[*connection]struct{}
}

func newNetwork() *Network {
	network := &Network{
		passable:    make(chan struct{}),
		unplugged:   make(chan struct{}),
		connections: make(map[*connection]struct{}),
	}
	close(network.passable)
	return network
}

func (n *Network) hold() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.passable = make(chan struct{})
}

func (n *Network) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.passable)
}

func (n *Network) unplug() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.unplugged)
	for connection := range n.connections {
		connection.Conn.Close()
	}
}

// wait returns nil when bytes may pass.
func (n *Network) wait(closed <-chan struct{}) error {
	n.mu.Lock()
	passable := n.passable
	n.mu.Unlock()
	select {
	case <-n.unplugged:
		return errUnplugged
	case <-closed:
		return net.ErrClosed
	case <-passable:
		return nil
	}
}

func (n *Network) dial(ctx context.Context, network, host string) (net.Conn, error) {
	if err := n.wait(ctx.Done()); err != nil {
		return nil, err
	}
	var dialer net.Dialer
	dialed, err := dialer.DialContext(ctx, network, host)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.unplugged:
		dialed.Close()
		return nil, errUnplugged
	default:
	}
	held := &connection{Conn: dialed, network: n, closed: make(chan struct{})}
	n.connections[held] = struct{}{}
	return held, nil
}

type connection struct {
	net.Conn
	network *Network
	closed  chan struct{}
	once    sync.Once
}

func (c *connection) Read(into []byte) (int, error) {
	count, err := c.Conn.Read(into)
	if held := c.network.wait(c.closed); held != nil {
		return 0, held
	}
	return count, err
}

func (c *connection) Write(from []byte) (int, error) {
	if err := c.network.wait(c.closed); err != nil {
		return 0, err
	}
	return c.Conn.Write(from)
}

func (c *connection) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.network.mu.Lock()
		delete(c.network.connections, c)
		c.network.mu.Unlock()
	})
	return c.Conn.Close()
}
