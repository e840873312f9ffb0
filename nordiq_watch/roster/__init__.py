"""What people say of servers, beside what servers send."""
