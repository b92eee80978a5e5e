"""Commands that ask a worker over REST, whichever it is: Millrace's or Kafka Connect's; and the doctor."""
