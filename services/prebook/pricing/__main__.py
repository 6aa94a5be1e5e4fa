from prebook.pricing.app import SERVICE
from prebook.runtime.serve import main

main(SERVICE)
