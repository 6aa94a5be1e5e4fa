from prebook.booking.app import SERVICE
from prebook.runtime.serve import main

main(SERVICE)
